// The Go peer of bench/peers.ts: go-libvirt over golang.org/x/crypto/ssh, as Debian packages them, used the way their own
// documentation shows. It answers one JSON line for each that it reads; see client.ts for what is asked.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"syscall"

	"github.com/digitalocean/go-libvirt"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

type host struct {
	Address string
	Port    int
}

type target struct {
	Hosts                             []host
	User, KeyFile, KnownHosts, Socket string
	Groups, Flags                     uint32
}

type request struct {
	Do    string
	Times int
}

type answer struct {
	CPUMs   float64 `json:"cpuMs"`
	Domains int     `json:"domains"`
	Fields  int     `json:"fields"`
	Bytes   int64   `json:"bytes"`
	Version string  `json:"version"`
}

type connection struct {
	ssh     *ssh.Client
	libvirt *libvirt.Libvirt
	// The last answer, kept as a collector would.
	sample []libvirt.DomainStatsRecord
}

type overSSH struct {
	client *ssh.Client
	socket string
}

func (d overSSH) Dial() (net.Conn, error) { return d.client.Dial("unix", d.socket) }

func must[T any](value T, err error) T {
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "go client:", err)
		os.Exit(1)
	}
}

func connect(t target, h host) *connection {
	signer := must(ssh.ParsePrivateKey(must(os.ReadFile(t.KeyFile))))
	client := must(ssh.Dial("tcp", net.JoinHostPort(h.Address, strconv.Itoa(h.Port)), &ssh.ClientConfig{
		User:              t.User,
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(signer)},
		HostKeyCallback:   must(knownhosts.New(t.KnownHosts)),
		HostKeyAlgorithms: []string{ssh.KeyAlgoED25519},
	}))
	l := libvirt.NewWithDialer(overSSH{client, t.Socket})
	check(l.ConnectToURI(libvirt.QEMUSystem))
	return &connection{ssh: client, libvirt: l}
}

func (c *connection) poll(t target) {
	flags := libvirt.ConnectGetAllDomainStatsFlags(t.Flags)
	c.sample = must(c.libvirt.ConnectGetAllDomainStats(nil, t.Groups, flags))
}

func (c *connection) close() {
	check(c.libvirt.Disconnect())
	c.ssh.Close()
}

func cpuMs() float64 {
	var usage syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	ms := func(t syscall.Timeval) float64 { return float64(t.Sec)*1000 + float64(t.Usec)/1000 }
	return ms(usage.Utime) + ms(usage.Stime)
}

// Resident bytes once everything that can be given back has been.
func residentBytes() int64 {
	runtime.GC()
	debug.FreeOSMemory()
	var size, resident int64
	must(fmt.Sscan(string(must(os.ReadFile("/proc/self/statm"))), &size, &resident))
	return resident * int64(os.Getpagesize())
}

func count(connections []*connection) (domains, fields int) {
	for _, c := range connections {
		domains += len(c.sample)
		for _, record := range c.sample {
			fields += len(record.Params)
		}
	}
	return
}

func main() {
	var t target
	check(json.Unmarshal([]byte(os.Args[1]), &t))
	var open []*connection
	closeNewest := func(times int) {
		kept := len(open) - times
		for _, c := range open[kept:] {
			c.close()
		}
		open = open[:kept]
	}
	lines := bufio.NewScanner(os.Stdin)
	out := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var r request
		check(json.Unmarshal(lines.Bytes(), &r))
		before := cpuMs()
		var a answer
		switch r.Do {
		case "connect":
			for n := 0; n < r.Times; n++ {
				open = append(open, connect(t, t.Hosts[n%len(t.Hosts)]))
			}
		case "poll":
			for n := 0; n < r.Times; n++ {
				for _, c := range open {
					c.poll(t)
				}
			}
		case "close":
			closeNewest(r.Times)
		case "memory":
			a.Bytes = residentBytes()
		case "version":
			a.Version = runtime.Version()
		}
		a.CPUMs = cpuMs() - before
		a.Domains, a.Fields = count(open)
		check(out.Encode(a))
	}
	closeNewest(len(open))
}
