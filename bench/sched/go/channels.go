// channels.go - The tests of channels.cc, in Go.
//
// Usage: channels PROCS TEST...
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"time"
)

const repeats = 5
const rounds = 1000000

func pingPong(capacity int) {
	to := make(chan int64, capacity)
	back := make(chan int64, capacity)
	var wg sync.WaitGroup
	wg.Add(2)
	go func() {
		for v := range to {
			back <- v
		}
		wg.Done()
	}()
	go func() {
		for i := 0; i < rounds; i++ {
			to <- 0
			<-back
		}
		close(to)
		wg.Done()
	}()
	wg.Wait()
}

func produceConsume(capacity int) {
	c := make(chan int64, capacity)
	var wg sync.WaitGroup
	wg.Add(2)
	go func() {
		sum := int64(0)
		for v := range c {
			sum += v
		}
		if sum != int64(rounds)*(rounds-1)/2 {
			panic("sum")
		}
		wg.Done()
	}()
	go func() {
		for i := int64(0); i < rounds; i++ {
			c <- i
		}
		close(c)
		wg.Done()
	}()
	wg.Wait()
}

func selectFour(capacity int) {
	var c [4]chan int64
	for i := range c {
		c[i] = make(chan int64, capacity)
	}
	var wg sync.WaitGroup
	wg.Add(5)
	go func() {
		for i := 0; i < rounds; i++ {
			select {
			case <-c[0]:
			case <-c[1]:
			case <-c[2]:
			case <-c[3]:
			}
		}
		wg.Done()
	}()
	for i := range c {
		go func(c chan int64) {
			for i := int64(0); i < rounds/4; i++ {
				c <- i
			}
			wg.Done()
		}(c[i])
	}
	wg.Wait()
}

func mutex() {
	var m sync.Mutex
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		for i := 0; i < rounds*10; i++ {
			m.Lock()
			m.Unlock()
		}
		wg.Done()
	}()
	wg.Wait()
}

func main() {
	n, _ := strconv.Atoi(os.Args[1])
	runtime.GOMAXPROCS(n)
	tests := map[string]func(){
		"pp0": func() { pingPong(0) }, "pp128": func() { pingPong(128) },
		"pc0": func() { produceConsume(0) }, "pc128": func() { produceConsume(128) },
		"select0": func() { selectFour(0) }, "select128": func() { selectFour(128) },
		"mutex": mutex,
	}
	for _, name := range os.Args[2:] {
		best := time.Duration(1 << 62)
		for k := 0; k < repeats; k++ {
			start := time.Now()
			tests[name]()
			if d := time.Since(start); d < best {
				best = d
			}
		}
		count := float64(rounds)
		if name == "mutex" {
			count *= 10
		}
		fmt.Printf("%s best %.1f ns\n", name, float64(best.Nanoseconds())/count)
	}
}
