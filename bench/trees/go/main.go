// Binary trees in Go's memory: the work of trees.h. THREADS is the number of goroutines, and GOMAXPROCS.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

type tree struct{ left, right *tree }

func make_tree(depth int) *tree {
	t := new(tree)
	if depth > 0 {
		t.left = make_tree(depth - 1)
		t.right = make_tree(depth - 1)
	}
	return t
}

func (t *tree) count() int {
	if t.left == nil {
		return 1
	}
	return 1 + t.left.count() + t.right.count()
}

func main() {
	if len(os.Args) != 3 {
		os.Exit(2)
	}
	depth, _ := strconv.Atoi(os.Args[1])
	threads, _ := strconv.Atoi(os.Args[2])
	runtime.GOMAXPROCS(threads)
	begin := time.Now()
	nodes := make_tree(depth + 1).count()
	stays := make_tree(depth)
	results := make(chan int)
	for i := 0; i < threads; i++ {
		go func(first int) {
			sum := 0
			for d := 4 + 4*first; d <= depth; d += 4 * threads {
				for n := 1 << uint(depth-d+4); n > 0; n-- {
					sum += make_tree(d).count()
				}
			}
			results <- sum
		}(i)
	}
	for i := 0; i < threads; i++ {
		nodes += <-results
	}
	nodes += stays.count()
	seconds := time.Since(begin).Seconds()
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	longest := uint64(0)
	for _, ns := range stats.PauseNs {
		if ns > longest {
			longest = ns
		}
	}
	line := func(what, unit string, value float64) {
		fmt.Printf("{\"workload\": \"trees-%d%s\", \"unit\": \"%s\", \"value\": %.3f}\n", depth, what, unit, value)
	}
	line("", "ms", seconds*1e3)
	line("-cpu", "ms", float64(usage.Utime.Nano()+usage.Stime.Nano())/1e6)
	line("-memory", "MiB", float64(usage.Maxrss)/1024)
	line("-pause", "ms", float64(longest)/1e6)
	if nodes == 0 {
		os.Exit(1)
	}
}
