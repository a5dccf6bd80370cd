"""AlephTX: an open, Python-first quantitative trading and arbitrage platform."""
