"""The C files of the benchmarks, and what builds those that stand on the core."""
