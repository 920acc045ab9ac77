// The workloads of containers.cc for Go's own maps and slices. Prints what the harness reads of Google Benchmark:
// {"benchmarks": [{"name": "go_map_hit/100", "cpu_time": ns}]}.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand"
	"os"
	"regexp"
	"time"
)

type result struct {
	Name    string  `json:"name"`
	CPUTime float64 `json:"cpu_time"`
}

var (
	minTime = flag.Float64("min-time", 0.1, "seconds of each measurement")
	filter  = flag.String("filter", "", "names to run")
	results []result
	sink    uint64
)

func keys(n int, seed int64) []uint64 {
	r := rand.New(rand.NewSource(seed))
	out := make([]uint64, n)
	for i := range out {
		out[i] = r.Uint64()
	}
	return out
}

func shuffled(in []uint64) []uint64 {
	out := append([]uint64(nil), in...)
	rand.New(rand.NewSource(7)).Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// bench calls run(n) for n operations, with more of them until they take long enough.
func bench(name string, arg, batch int, run func(n int)) {
	name = fmt.Sprintf("go_%s/%d", name, arg)
	if *filter != "" && !regexp.MustCompile(*filter).MatchString(name) {
		return
	}
	run(batch)
	for n := batch; ; n *= 2 {
		start := time.Now()
		run(n)
		took := time.Since(start)
		if took.Seconds() >= *minTime {
			results = append(results, result{name, float64(took.Nanoseconds()) / float64(n)})
			return
		}
	}
}

func filled(k []uint64) map[uint64]uint64 {
	m := map[uint64]uint64{}
	for _, key := range k {
		m[key] = key
	}
	return m
}

func maps(n int) {
	k := keys(n, 1)
	m := filled(k)
	order := shuffled(k)
	bench("map_hit", n, 1000, func(ops int) {
		i := 0
		for ; ops > 0; ops-- {
			sink += m[order[i]]
			if i++; i == len(order) {
				i = 0
			}
		}
	})
	others := keys(n, 2)
	bench("map_miss", n, 1000, func(ops int) {
		i := 0
		for ; ops > 0; ops-- {
			if _, ok := m[others[i]]; ok {
				sink++
			}
			if i++; i == len(others) {
				i = 0
			}
		}
	})
	bench("map_iterate", n, n, func(ops int) {
		for ; ops > 0; ops -= n {
			for _, v := range m {
				sink += v
			}
		}
	})
	bench("map_insert", n, n, func(ops int) {
		for ; ops > 0; ops -= n {
			sink += uint64(len(filled(k)))
		}
	})
	bench("map_insert_hint", n, n, func(ops int) {
		for ; ops > 0; ops -= n {
			m := make(map[uint64]uint64, n)
			for _, key := range k {
				m[key] = key
			}
			sink += uint64(len(m))
		}
	})
	both := keys(2*n, 1)
	m = filled(both[:n])
	out, in := 0, n
	bench("map_churn", n, 1000, func(ops int) {
		for ; ops > 0; ops-- {
			delete(m, both[out])
			m[both[in]] = 1
			if out++; out == len(both) {
				out = 0
			}
			if in++; in == len(both) {
				in = 0
			}
		}
	})
}

func stringMaps(n int) {
	var names, copies []string
	m := map[string]uint64{}
	for _, key := range keys(n, 3) {
		name := fmt.Sprintf("user/%d", key)
		names = append(names, name)
		copies = append(copies, string([]byte(name)))
		m[name] = uint64(len(name))
	}
	bench("string_hit", n, 1000, func(ops int) {
		i := 0
		for ; ops > 0; ops-- {
			sink += m[copies[i]]
			if i++; i == len(copies) {
				i = 0
			}
		}
	})
	sink += uint64(len(names))
}

func main() {
	flag.Parse()
	for _, n := range []int{8, 100, 10_000, 1_000_000} {
		maps(n)
	}
	for _, n := range []int{100, 10_000, 1_000_000} {
		stringMaps(n)
	}
	for _, n := range []int{10, 1000, 1_000_000} {
		bench("append", n, n, func(ops int) {
			for ; ops > 0; ops -= n {
				var s []uint64
				for i := 0; i < n; i++ {
					s = append(s, uint64(i))
				}
				sink += s[n-1]
			}
		})
	}
	chunk := make([]byte, 100)
	for _, n := range []int{1000, 1_000_000} {
		bench("append_100", n, n, func(ops int) {
			for ; ops > 0; ops -= n {
				var s []byte
				for i := 0; i < n; i++ {
					s = append(s, chunk...)
				}
				sink += uint64(len(s))
			}
		})
	}
	if err := json.NewEncoder(os.Stdout).Encode(map[string]any{"benchmarks": results}); err != nil {
		panic(err)
	}
}
