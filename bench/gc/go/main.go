// How long Go's collector takes for a graph of graph.h, whose words it repeats: MARKERS is GOMAXPROCS.
package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sort"
	"strconv"
	"time"
	"unsafe"
)

type pointer = unsafe.Pointer
type node32 struct {
	to   [3]pointer
	rest [1]uint64
}
type node48 struct {
	to   [3]pointer
	rest [3]uint64
}
type node64 struct {
	to   [3]pointer
	rest [5]uint64
}

// Of all nodes, whatever their size.
type node struct{ to [3]pointer }

func random(state *uint64) uint64 {
	*state += 0x9e3779b97f4a7c15
	z := *state
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb
	return z ^ (z >> 31)
}

func buffers(bytes uint64, pointerFree bool) (root any, objects, size uint64) {
	seed := uint64(1)
	objects = bytes / 4096
	index := make([]pointer, objects)
	for i := range index {
		if !pointerFree {
			panic("Go knows which words are pointers: there is no such graph")
		}
		words := new([512]uint64)
		for w := range words {
			words[w] = random(&seed)
		}
		index[i] = pointer(words)
	}
	return index, objects, objects * 4096
}

func build(kind string, bytes uint64) (root any, objects, size uint64) {
	if kind == "p" || kind == "a" {
		return buffers(bytes, kind == "a")
	}
	seed := uint64(1)
	n := bytes / 48
	nodes := make([]pointer, n)
	order := make([]uint32, n)
	for i := range nodes {
		switch random(&seed) % 3 {
		case 0:
			nodes[i], size = pointer(new(node32)), size+32
		case 1:
			nodes[i], size = pointer(new(node48)), size+48
		case 2:
			nodes[i], size = pointer(new(node64)), size+64
		}
		order[i] = uint32(i)
	}
	for i := n - 1; kind != "s" && i > 0; i-- {
		k := random(&seed) % (i + 1)
		order[i], order[k] = order[k], order[i]
	}
	at := func(i uint64) pointer {
		if i < n {
			return nodes[order[i]]
		}
		return nil
	}
	for i := uint64(0); i < n; i++ {
		node := (*node)(nodes[order[i]])
		switch kind {
		case "l":
			node.to[0] = at(i + 1)
			continue
		case "r":
			node.to[2] = nodes[random(&seed)%n]
		default:
			node.to[2] = nodes[(i+1+random(&seed)%64)%n]
		}
		node.to[0] = at(2*i + 1)
		node.to[1] = at(2*i + 2)
	}
	return nodes[order[0]], n, size
}

func number(i, otherwise int) int {
	if len(os.Args) <= i {
		return otherwise
	}
	n, err := strconv.Atoi(os.Args[i])
	if err != nil {
		panic(err)
	}
	return n
}

func main() {
	debug.SetGCPercent(-1)
	runtime.GOMAXPROCS(number(3, 1))
	root, objects, size := build(os.Args[1], uint64(number(2, 256))<<20)
	runtime.GC() // what the building needed is gone
	times := make([]float64, number(4, 3))
	for i := range times {
		begin := time.Now()
		runtime.GC()
		times[i] = float64(time.Since(begin).Nanoseconds()) / 1e6
	}
	sort.Float64s(times)
	runtime.KeepAlive(root)
	names := map[string]string{"r": "random", "s": "sequential", "l": "list", "a": "free"}
	fmt.Printf("{\"workload\": \"%s-%d\", \"procs\": %d, \"value\": %.4f, \"unit\": \"ns\", \"bytes\": %d}\n",
		names[os.Args[1]], number(2, 256), number(3, 1), times[len(times)/2]*1e6/float64(objects), size/objects)
}
