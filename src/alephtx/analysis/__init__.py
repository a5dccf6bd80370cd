"""What a run or a backtest was worth: pure functions over plain tables, floats only for shares."""
