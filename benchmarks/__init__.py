"""What `./dev bench` measures: a real node on real stores, judged from outside. See docs/benchmarks.md."""
