package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// threads is a program whose threads write to our store, or directly to LMDB, which they lock for
// each write: benches/programs/writers.rs.
type threads struct {
	kind    string // "raw" or "store"
	base    string // a closed file of our store
	command *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
}

func startThreads(program, kind, base string) (*threads, error) {
	command := exec.Command(program)
	command.Stderr = os.Stderr
	in, err := command.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := command.Start(); err != nil {
		return nil, err
	}
	return &threads{kind: kind, base: base, command: command, in: in, out: bufio.NewReader(out)}, nil
}

// ask sends a line and returns the answer's words.
func (t *threads) ask(format string, args ...any) ([]string, error) {
	if _, err := fmt.Fprintf(t.in, format+"\n", args...); err != nil {
		return nil, fmt.Errorf("threads that write: %w", err)
	}
	answer, err := t.out.ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("threads that write: %w", err)
	}
	return strings.Fields(answer), nil
}

func (t *threads) fresh() error {
	path := t.base + "." + t.kind
	if err := copyFile(t.base, path); err != nil {
		return err
	}
	_, err := t.ask("open %s %s", t.kind, path)
	return err
}

func (t *threads) write(op operation, writers int, long time.Duration) (writes, error) {
	words, err := t.ask("%s %d %d", op.name, writers, long.Milliseconds())
	if err != nil {
		return writes{}, err
	}
	var w writes
	for i, word := range words {
		nanoseconds, err := strconv.ParseInt(word, 10, 64)
		if err != nil {
			return w, fmt.Errorf("threads that write: %w", err)
		}
		if i == 0 {
			w.took = time.Duration(nanoseconds)
		} else {
			w.times = append(w.times, nanoseconds)
		}
	}
	return w, nil
}

func (t *threads) close() error {
	if err := t.in.Close(); err != nil {
		return err
	}
	return t.command.Wait()
}
