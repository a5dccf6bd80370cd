"""What people and programs look at: terminal, report files; later gRPC, HTTP, metrics."""
