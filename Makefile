# What each target does is in scripts/.
.PHONY: help demo test check chaos bench bench-postgres docs

help:
	@echo "make demo   start the server with sample customers"
	@echo "make test   everything CI runs"
	@echo "make check  the quick part: format, lint, types, imports"
	@echo "make chaos  break what can break, over and over: some minutes"
	@echo "make bench  measure; writes docs/benchmark.md"
	@echo "make bench-postgres  the same on PostgreSQL; writes docs/benchmark-postgres.md"
	@echo "make docs   write the generated pages of docs/ again"

demo test check chaos bench bench-postgres docs:
	@scripts/$@
