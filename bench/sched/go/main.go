// The workloads of ../workloads.cc in Go; see there for what they are. Whoever changes one changes the other.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

var (
	procs = 1
	scale = 1.0
)

func scaled(n int) int {
	if s := int(float64(n) * scale); s > 1 {
		return s
	}
	return 1
}

func report(workload string, value float64, unit string) {
	fmt.Printf("{\"workload\": \"%s\", \"procs\": %d, \"value\": %.6g, \"unit\": \"%s\"}\n", workload, procs, value, unit)
}

func per(workload string, start time.Time, n int) {
	report(workload, float64(time.Since(start).Nanoseconds())/float64(n), "ns")
}

func cpuNs() int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// Resident memory and the page tables that it needs.
func memoryBytes() int64 {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		panic(err)
	}
	defer f.Close()
	total := int64(0)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) > 1 && (fields[0] == "VmRSS:" || fields[0] == "VmPTE:") {
			n, _ := strconv.ParseInt(fields[1], 10, 64)
			total += n * 1024
		}
	}
	return total
}

//go:noinline
func spin(steps int) uint64 {
	x := uint64(88172645463325252)
	for i := 0; i < steps; i++ {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	return x
}

func yield() {
	tasks := 2 * procs
	each := scaled(2_000_000) / tasks
	var done sync.WaitGroup
	done.Add(tasks)
	start := time.Now()
	for t := 0; t < tasks; t++ {
		go func() {
			for i := 0; i < each; i++ {
				runtime.Gosched()
			}
			done.Done()
		}()
	}
	done.Wait()
	per("switch", start, each*tasks)
}

func spawn() {
	const batch = 100
	rounds := scaled(5000)
	var done sync.WaitGroup
	start := time.Now()
	for r := 0; r < rounds; r++ {
		done.Add(batch)
		for i := 0; i < batch; i++ {
			go func() { done.Done() }()
		}
		done.Wait()
	}
	per("spawn", start, rounds*batch)
}

func pingPong(name string, capacity, pairs int) {
	each := scaled(1_000_000) / pairs
	there, back := make([]chan int64, pairs), make([]chan int64, pairs)
	for i := range there {
		there[i], back[i] = make(chan int64, capacity), make(chan int64, capacity)
	}
	var done sync.WaitGroup
	done.Add(2 * pairs)
	start := time.Now()
	for i := range there {
		there, back := there[i], back[i]
		go func() {
			for i := 0; i < each; i++ {
				back <- <-there + 1
			}
			done.Done()
		}()
		go func() {
			v := int64(0)
			for i := 0; i < each; i++ {
				there <- v
				v = <-back
			}
			done.Done()
		}()
	}
	done.Wait()
	per(name, start, each*pairs)
}

func produceConsume(name string, capacity int) {
	n := scaled(2_000_000)
	c := make(chan int64, capacity)
	var done sync.WaitGroup
	done.Add(2)
	start := time.Now()
	go func() {
		for i := 0; i < n; i++ {
			c <- int64(i)
		}
		close(c)
		done.Done()
	}()
	go func() {
		sum := int64(0)
		for {
			v, ok := <-c
			if !ok {
				break
			}
			sum += v
		}
		done.Done()
	}()
	done.Wait()
	per(name, start, n)
}

func ring() {
	const tasks = 1000
	rounds := scaled(1000)
	chans := make([]chan int64, tasks)
	for i := range chans {
		chans[i] = make(chan int64)
	}
	var done sync.WaitGroup
	done.Add(tasks)
	start := time.Now()
	for i := range chans {
		i, in, out := i, chans[i], chans[(i+1)%tasks]
		go func() {
			v := int64(0)
			for r := 0; r < rounds; r++ {
				if i == 0 {
					out <- v
					v = <-in
				} else {
					v = <-in
					out <- v + 1
				}
			}
			done.Done()
		}()
	}
	done.Wait()
	per("ring", start, tasks*rounds)
}

func skynetNode(up chan int64, number int64, size int) {
	if size == 1 {
		up <- number
		return
	}
	c := make(chan int64)
	for i := 0; i < 10; i++ {
		go skynetNode(c, number+int64(i*(size/10)), size/10)
	}
	sum := int64(0)
	for i := 0; i < 10; i++ {
		sum += <-c
	}
	up <- sum
}

func skynet() {
	leaves := 10
	for leaves*10 <= scaled(1_000_000) {
		leaves *= 10
	}
	root := make(chan int64)
	start := time.Now()
	go skynetNode(root, 0, leaves)
	sum := <-root
	per("skynet", start, leaves)
	if n := int64(leaves); sum != n*(n-1)/2 {
		panic("skynet")
	}
}

func fib(n int) int64 {
	if n < 2 {
		return int64(n)
	}
	var left int64
	var done sync.WaitGroup
	done.Add(1)
	go func() {
		left = fib(n - 1)
		done.Done()
	}()
	right := fib(n - 2)
	done.Wait()
	return left + right
}

func forkJoin() {
	rounds := scaled(20)
	var done sync.WaitGroup
	start := time.Now()
	for i := 0; i < rounds; i++ {
		done.Add(1)
		go func() {
			if fib(20) != 6765 {
				panic("fib")
			}
			done.Done()
		}()
		done.Wait()
	}
	per("fork-join", start, rounds*10945)
}

func mutex() {
	tasks := 4 * procs
	each := scaled(4_000_000) / tasks
	var lock sync.Mutex
	count := 0
	var done sync.WaitGroup
	done.Add(tasks)
	start := time.Now()
	for t := 0; t < tasks; t++ {
		go func() {
			for i := 0; i < each; i++ {
				lock.Lock()
				count++
				lock.Unlock()
			}
			done.Done()
		}()
	}
	done.Wait()
	per("mutex", start, each*tasks)
	if count != each*tasks {
		panic("mutex")
	}
}

func select4(name string, capacity int) {
	each := scaled(1_000_000) / 4
	var c [4]chan int64
	var done sync.WaitGroup
	done.Add(5)
	for i := range c {
		c[i] = make(chan int64, capacity)
	}
	start := time.Now()
	for i := range c {
		c := c[i]
		go func() {
			for i := 0; i < each; i++ {
				c <- 1
			}
			done.Done()
		}()
	}
	go func() {
		sum := int64(0)
		for i := 0; i < 4*each; i++ {
			var v int64
			select {
			case v = <-c[0]:
			case v = <-c[1]:
			case v = <-c[2]:
			case v = <-c[3]:
			}
			sum += v
		}
		if sum != int64(4*each) {
			panic("select")
		}
		done.Done()
	}()
	done.Wait()
	per(name, start, 4*each)
}

func parked(label string, n int) {
	var done sync.WaitGroup
	done.Add(n)
	gate := make(chan int64)
	var started int64
	before := memoryBytes()
	start := time.Now()
	for i := 0; i < n; i++ {
		go func() {
			atomic.AddInt64(&started, 1)
			<-gate
			done.Done()
		}()
	}
	for atomic.LoadInt64(&started) != int64(n) {
		time.Sleep(time.Millisecond)
	}
	per("park-"+label, start, n)
	report("parked-bytes-"+label, float64(memoryBytes()-before)/float64(n), "B")
	start = time.Now()
	close(gate)
	done.Wait()
	per("wake-"+label, start, n)
}

func sleepers() {
	n := scaled(1_000_000)
	var done sync.WaitGroup
	done.Add(n)
	var started int64
	before, cpu := memoryBytes(), cpuNs()
	first := time.Now().Add(4 * time.Second)
	for i := 0; i < n; i++ {
		i := i
		go func() {
			atomic.AddInt64(&started, 1)
			time.Sleep(time.Until(first.Add(time.Duration(i * 7919 % n * 1000))))
			done.Done()
		}()
	}
	for atomic.LoadInt64(&started) != int64(n) {
		time.Sleep(time.Millisecond)
	}
	report("sleeper-bytes", float64(memoryBytes()-before)/float64(n), "B")
	done.Wait()
	report("sleeper-cpu", float64(cpuNs()-cpu)/float64(n), "ns")
}

func timers() {
	n := scaled(1_000_000)
	var fired int64
	before, cpu := memoryBytes(), cpuNs()
	all := make([]*time.Timer, n)
	first := time.Now().Add(2 * time.Second)
	for i := range all {
		all[i] = time.AfterFunc(time.Until(first.Add(time.Duration(i*7919%n*1000))), func() { atomic.AddInt64(&fired, 1) })
	}
	report("timer-bytes", float64(memoryBytes()-before)/float64(n), "B")
	for atomic.LoadInt64(&fired) != int64(n) {
		time.Sleep(10 * time.Millisecond)
	}
	report("timer-cpu", float64(cpuNs()-cpu)/float64(n), "ns")
}

func percentile(sorted []float64, part float64) float64 {
	return sorted[int(float64(len(sorted)-1)*part)]
}

func ticker() {
	ticks := scaled(2000)
	var stop int32
	var done sync.WaitGroup
	done.Add(procs)
	for i := 0; i < procs; i++ {
		go func() {
			for atomic.LoadInt32(&stop) == 0 {
				spin(1000)
			}
			done.Done()
		}()
	}
	var late []float64
	next := time.Now()
	for i := 0; i < ticks; i++ {
		next = next.Add(time.Millisecond)
		time.Sleep(time.Until(next))
		now := time.Now()
		late = append(late, float64(now.Sub(next).Nanoseconds())/1000)
		if now.Sub(next) > time.Millisecond {
			next = now
		}
	}
	atomic.StoreInt32(&stop, 1)
	done.Wait()
	sort.Float64s(late)
	report("ticker-p50", percentile(late, 0.5), "us")
	report("ticker-p99", percentile(late, 0.99), "us")
}

func blocking() {
	steps := scaled(300_000_000)
	start := time.Now()
	spin(steps)
	alone := time.Since(start)
	var stop int32
	var done, computed sync.WaitGroup
	done.Add(100)
	for i := 0; i < 100; i++ {
		go func() {
			for atomic.LoadInt32(&stop) == 0 {
				t := syscall.Timespec{Nsec: 10_000_000}
				syscall.Nanosleep(&t, nil)
			}
			done.Done()
		}()
	}
	computed.Add(1)
	start = time.Now()
	go func() {
		spin(steps)
		computed.Done()
	}()
	computed.Wait()
	report("blocking", float64(time.Since(start))/float64(alone), "x")
	atomic.StoreInt32(&stop, 1)
	done.Wait()
}

var workloads = []struct {
	name string
	run  func()
}{
	{"switch", yield},
	{"spawn", spawn},
	{"ping", func() { pingPong("ping", 0, 1) }},
	{"ping-buffered", func() { pingPong("ping-buffered", 128, 1) }},
	{"ping-pairs", func() { pingPong("ping-pairs", 0, 2*procs) }},
	{"pc", func() { produceConsume("pc", 0) }},
	{"pc-buffered", func() { produceConsume("pc-buffered", 128) }},
	{"ring", ring},
	{"skynet", skynet},
	{"fork-join", forkJoin},
	{"mutex", mutex},
	{"select4", func() { select4("select4", 0) }},
	{"select4-buffered", func() { select4("select4-buffered", 128) }},
	{"parked-100k", func() { parked("100k", 100_000) }},
	{"parked-1m", func() { parked("1m", 1_000_000) }},
	{"sleepers", sleepers},
	{"timers", timers},
	{"ticker", ticker},
	{"blocking", blocking},
}

func main() {
	flag.IntVar(&procs, "procs", 1, "GOMAXPROCS")
	flag.Float64Var(&scale, "scale", 1, "amount of work")
	name := ""
	args := os.Args[1:]
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name, args = args[0], args[1:]
	}
	if err := flag.CommandLine.Parse(args); err != nil {
		os.Exit(2)
	}
	runtime.GOMAXPROCS(procs)
	for _, w := range workloads {
		if name == "list" {
			fmt.Println(w.name)
		} else if w.name == name {
			w.run()
			return
		}
	}
	if name != "list" {
		fmt.Fprintln(os.Stderr, "usage: go WORKLOAD|list [--procs N] [--scale S]")
		os.Exit(2)
	}
}
