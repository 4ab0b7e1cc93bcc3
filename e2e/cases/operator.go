package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// counts is what a process has published of its work on the store.
type counts struct {
	Flushes  uint64 `json:"flushes"`
	Undone   uint64 `json:"undone_commits"`
	Deferred uint64 `json:"deferred_commits"`
	Commits  struct {
		Count uint64 `json:"count"`
	} `json:"commit_operations"`
}

// operate uses pmctl beside the daemon that writes: it must see the devices, the pool, and what the
// daemon has flushed. containerd's own store lets nobody in.
func operate(_ context.Context, l *life) error {
	if !l.recovers {
		return nil
	}
	names, err := l.devices()
	if err != nil {
		return err
	}
	listed, err := l.pmctl("ls")
	if err != nil {
		return err
	}
	for _, name := range names {
		if !strings.Contains(listed, name) {
			return fmt.Errorf("pmctl ls has not %s:\n%s", name, listed)
		}
	}
	for _, arguments := range [][]string{{"check"}, {"doctor", "--pool", l.pool}} {
		output, err := l.pmctl(arguments...)
		if err != nil {
			return err
		}
		fmt.Printf("pmctl %s:\n%s", arguments[0], output)
	}
	return l.countsOfDaemon()
}

// countsOfDaemon wants pmctl to show the commits and flushes of the process that has the store.
func (l *life) countsOfDaemon() error {
	daemon := l.main
	if l.side != nil {
		daemon = l.side
	}
	pid := daemon.Process.Pid
	output, err := l.pmctl("stats", "--json")
	if err != nil {
		return err
	}
	var stats struct {
		Processes []struct {
			PID    int     `json:"pid"`
			Counts *counts `json:"counts"`
			WhyNot string  `json:"why_not"`
		} `json:"processes"`
	}
	if err := json.Unmarshal([]byte(output), &stats); err != nil {
		return fmt.Errorf("pmctl stats: %w:\n%s", err, output)
	}
	if len(stats.Processes) != 1 || stats.Processes[0].PID != pid {
		return fmt.Errorf("pmctl stats shows other processes than %d: %s", pid, output)
	}
	found := stats.Processes[0].Counts
	if found == nil {
		return fmt.Errorf("pmctl stats: %s", stats.Processes[0].WhyNot)
	}
	// Most changes of state are not flushed by themselves, so there are more commits than flushes.
	if found.Flushes == 0 || found.Flushes >= found.Commits.Count || found.Undone != 0 ||
		found.Deferred > found.Commits.Count {
		return fmt.Errorf("the daemon's counts are %+v", *found)
	}
	text, err := l.pmctl("stats")
	if err != nil {
		return err
	}
	fmt.Printf("pmctl stats:\n%s", text)
	for _, want := range []string{strconv.Itoa(pid), "time of a commit", "###"} {
		if !strings.Contains(text, want) {
			return fmt.Errorf("pmctl stats has not %q", want)
		}
	}
	return nil
}

// pmctl returns what the tool prints. It must find nothing wrong.
func (l *life) pmctl(arguments ...string) (string, error) {
	store := filepath.Join(l.root, "devmapper", l.pool+".db")
	command := exec.Command("pmctl", append([]string{"--store", store}, arguments...)...)
	output, err := command.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("pmctl %q: %w:\n%s", arguments, err, output)
	}
	return string(output), err
}
