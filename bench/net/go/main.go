// main.go - Echo and HTTP in Go: one goroutine for each connection, on the net package alone.
//
//	server_go-VERSION echo|http PROCESSORS        prints its port, serves until killed
package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
)

var (
	answer = []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 14\r\n\r\nHello, world!\n")
	end    = []byte("\r\n\r\n")
)

func echo(c net.Conn) {
	defer c.Close()
	buffer := make([]byte, 4096)
	for {
		n, err := c.Read(buffer)
		if err != nil {
			return
		}
		if _, err = c.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func http(c net.Conn) {
	defer c.Close()
	buffer := make([]byte, 4096)
	have := 0
	for {
		n, err := c.Read(buffer[have:])
		if err != nil {
			return
		}
		have += n
		rest := buffer[:have]
		for {
			at := bytes.Index(rest, end)
			if at < 0 {
				break
			}
			if _, err = c.Write(answer); err != nil {
				return
			}
			rest = rest[at+len(end):]
		}
		have = copy(buffer, rest)
	}
}

func main() {
	if len(os.Args) != 3 {
		os.Exit(2)
	}
	n, _ := strconv.Atoi(os.Args[2])
	runtime.GOMAXPROCS(n)
	serve := echo
	if os.Args[1] == "http" {
		serve = http
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	for {
		if c, err := listener.Accept(); err == nil {
			go serve(c)
		}
	}
}
