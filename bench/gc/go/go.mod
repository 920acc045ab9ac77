module tri/bench/gc

go 1.19
