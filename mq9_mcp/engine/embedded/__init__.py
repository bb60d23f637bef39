"""The default engine: a journal file, the state in memory, DuckDB folded behind them."""
