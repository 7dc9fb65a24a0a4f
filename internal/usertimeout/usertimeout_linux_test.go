package usertimeout

import (
	"net"
	"syscall"
	"testing"
	"time"
)

func TestOf(t *testing.T) {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	conn, err := (&net.Dialer{Control: Of(1500 * time.Millisecond)}).DialContext(t.Context(), "tcp", server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var set int
	if failed := raw.Control(func(fd uintptr) { set, err = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, 18) }); failed != nil || err != nil || set != 1500 {
		t.Errorf("%d ms, %v, %v", set, failed, err)
	}
}

func TestOfAnotherKindOfConnection(t *testing.T) {
	server, err := net.Listen("unix", t.TempDir()+"/s")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	conn, err := (&net.Dialer{Control: Of(time.Second)}).DialContext(t.Context(), "unix", server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}
