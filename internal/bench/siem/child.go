package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// child is a contender's process.
type child struct {
	cmd    *exec.Cmd
	stdout tail
	stderr tail
	peak   atomic.Int64  // resident memory at its highest, bytes
	done   chan struct{} // closed when it has ended
}

// start runs a program with little in its environment.
func start(bin string, args, env []string) (*child, error) {
	c := &child{cmd: exec.Command(bin, args...), done: make(chan struct{})}
	c.cmd.Env = append([]string{"HOME=" + os.TempDir(), "TMPDIR=" + os.TempDir(), "PATH=" + os.Getenv("PATH")}, env...)
	c.cmd.Stdout, c.cmd.Stderr = &c.stdout, &c.stderr
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	go c.watch()
	go func() {
		_ = c.cmd.Wait() // how it ended is in ProcessState
		close(c.done)
	}()
	return c, nil
}

// watch follows the peak by the kernel's own mark. getrusage's would be no use: there
// a process inherits the mark of the one that started it.
func (c *child) watch() {
	status := fmt.Sprintf("/proc/%d/status", c.cmd.Process.Pid)
	for {
		if b, err := os.ReadFile(status); err == nil {
			if _, rest, ok := bytes.Cut(b, []byte("VmHWM:")); ok {
				kb, _ := number(bytes.TrimLeft(rest, " \t"))
				c.peak.Store(max(c.peak.Load(), kb<<10))
			}
		}
		select {
		case <-c.done:
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// running reports whether it has not ended by itself.
func (c *child) running() bool {
	select {
	case <-c.done:
		return false
	default:
		return true
	}
}

// kill ends it as a power cut would, as far as a process can tell.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	<-c.done
}

// stop asks it to end, and after some time does not ask any more.
func (c *child) stop() {
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-c.done:
	case <-time.After(10 * time.Second):
		c.kill()
	}
}

// cpu is the processor time that it took, once it has ended.
func (c *child) cpu() time.Duration {
	return c.cmd.ProcessState.UserTime() + c.cmd.ProcessState.SystemTime()
}

// tail keeps the end of what a process prints.
type tail struct {
	mu sync.Mutex
	b  []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if over := len(t.b) - 64<<10; over > 0 {
		t.b = append(t.b[:0], t.b[over:]...)
	}
	return len(p), nil
}

// last is the last line.
func (t *tail) last() string {
	lines := t.lines()
	return string(lines[len(lines)-1])
}

// why is the last line that speaks of an error, or else the last one.
func (t *tail) why() string {
	lines := t.lines()
	why := lines[len(lines)-1]
	for _, line := range slices.Backward(lines) {
		if low := bytes.ToLower(line); bytes.Contains(low, []byte("error")) || bytes.Contains(low, []byte("panic")) {
			why = line
			break
		}
	}
	return string(why[:min(len(why), 300)])
}

func (t *tail) lines() [][]byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return bytes.Split(bytes.TrimSpace(bytes.Clone(t.b)), []byte("\n"))
}
