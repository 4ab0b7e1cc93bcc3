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

// rawLMDB is a program that calls LMDB straight away, and takes its lock for each write: benches/programs/raw_writers.rs.
type rawLMDB struct {
	base    string // a closed file of our store
	command *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
}

func startRaw(program, base string) (*rawLMDB, error) {
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
	return &rawLMDB{base: base, command: command, in: in, out: bufio.NewReader(out)}, nil
}

// ask sends a line and returns the answer's words.
func (r *rawLMDB) ask(format string, args ...any) ([]string, error) {
	if _, err := fmt.Fprintf(r.in, format+"\n", args...); err != nil {
		return nil, fmt.Errorf("raw LMDB: %w", err)
	}
	answer, err := r.out.ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("raw LMDB: %w", err)
	}
	return strings.Fields(answer), nil
}

func (r *rawLMDB) fresh() error {
	path := r.base + ".raw"
	if err := copyFile(r.base, path); err != nil {
		return err
	}
	_, err := r.ask("open %s", path)
	return err
}

func (r *rawLMDB) write(op operation, writers int, long time.Duration) (writes, error) {
	words, err := r.ask("%s %d %d", op.name, writers, long.Milliseconds())
	if err != nil {
		return writes{}, err
	}
	var w writes
	for i, word := range words {
		nanoseconds, err := strconv.ParseInt(word, 10, 64)
		if err != nil {
			return w, fmt.Errorf("raw LMDB: %w", err)
		}
		if i == 0 {
			w.took = time.Duration(nanoseconds)
		} else {
			w.times = append(w.times, nanoseconds)
		}
	}
	return w, nil
}

func (r *rawLMDB) close() error {
	if err := r.in.Close(); err != nil {
		return err
	}
	return r.command.Wait()
}
