// micro.go - The tests of ../micro.cc in Go. Usage: micro PROCS TEST...
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const yields = 5000000

func runYield() float64 {
	var wg sync.WaitGroup
	start := time.Now()
	for k := 0; k < 2; k++ {
		wg.Add(1)
		go func() {
			for i := 0; i < yields; i++ {
				runtime.Gosched()
			}
			wg.Done()
		}()
	}
	wg.Wait()
	return float64(time.Since(start).Nanoseconds()) / (2 * yields)
}

const batch, batches = 100, 20000

var left int32

func nothing()       { left-- }
func nothingShared() { atomic.AddInt32(&left, -1) }

func runSpawn() float64 {
	alone := runtime.GOMAXPROCS(0) == 1
	start := time.Now()
	for b := 0; b < batches; b++ {
		atomic.StoreInt32(&left, batch)
		for i := 0; i < batch; i++ {
			if alone {
				go nothing()
			} else {
				go nothingShared()
			}
		}
		for atomic.LoadInt32(&left) != 0 {
			runtime.Gosched()
		}
	}
	return float64(time.Since(start).Nanoseconds()) / (batch * batches)
}

func status(field string) float64 {
	data, _ := os.ReadFile("/proc/self/status")
	for _, line := range strings.Split(string(data), "\n") {
		if strings.HasPrefix(line, field) {
			kib, _ := strconv.ParseFloat(strings.Fields(line)[1], 64)
			return kib * 1024
		}
	}
	return 0
}

func cpu() float64 {
	var u syscall.Rusage
	syscall.Getrusage(0, &u)
	return float64(u.Utime.Nano()+u.Stime.Nano()) * 1e-9
}

func runParked(n int64) {
	var arrived int64
	never := make(chan int)
	rss := status("VmRSS")
	start := time.Now()
	for i := int64(0); i < n; i++ {
		go func() { atomic.AddInt64(&arrived, 1); <-never }()
		if i%100 == 0 {
			runtime.Gosched()
		}
	}
	for atomic.LoadInt64(&arrived) < n {
		runtime.Gosched()
	}
	fmt.Printf("parked.start %d %.0f ns\n", n, float64(time.Since(start).Nanoseconds())/float64(n))
	fmt.Printf("parked.rss %d %.0f bytes\n", n, (status("VmRSS")-rss)/float64(n))
}

func runSleepers(n int64) {
	var arrived int64
	rss := status("VmRSS")
	start := cpu()
	at := time.Now().Add(5 * time.Second)
	for i := int64(0); i < n; i++ {
		go func() {
			atomic.AddInt64(&arrived, 1)
			time.Sleep(time.Until(at))
			atomic.AddInt64(&arrived, -1)
		}()
		if i%100 == 0 {
			runtime.Gosched()
		}
	}
	for atomic.LoadInt64(&arrived) < n {
		runtime.Gosched()
	}
	fmt.Printf("sleepers.rss %d %.0f bytes\n", n, (status("VmRSS")-rss)/float64(n))
	for atomic.LoadInt64(&arrived) > 0 {
		time.Sleep(10 * time.Millisecond)
	}
	fmt.Printf("sleepers.cpu %d %.0f ns\n", n, (cpu()-start)/float64(n)*1e9)
	fmt.Printf("sleepers.late %d %.1f ms\n", n, float64(time.Since(at).Microseconds())/1000)
}

func best(name string, fn func() float64) {
	least := fn()
	for i := 1; i < 5; i++ {
		if x := fn(); x < least {
			least = x
		}
	}
	fmt.Printf("%s %d %.2f ns\n", name, runtime.GOMAXPROCS(0), least)
}

func main() {
	procs, _ := strconv.Atoi(os.Args[1])
	runtime.GOMAXPROCS(procs)
	for _, w := range os.Args[2:] {
		name, value, _ := strings.Cut(w, "=")
		n, _ := strconv.ParseInt(value, 10, 64)
		switch name {
		case "yield":
			best("yield", runYield)
		case "spawn":
			best("spawn", runSpawn)
		case "parked":
			runParked(n)
		case "sleepers":
			runSleepers(n)
		}
	}
}
