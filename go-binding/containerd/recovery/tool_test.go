//go:build linux

package recovery

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The commands that the log has work as they are: this pool and this store need quotes.
func TestLoggedCommandsAreWhatAShellRuns(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"pmctl", "dmsetup", "thin_ls"} {
		script := "#!/bin/sh\n{ printf '%s' " + name + "; printf ' [%s]' \"$@\"; echo; } >>\"$CALLS\"\n" +
			"case $2 in --commit) echo 7 ;; esac\n"
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	calls := filepath.Join(dir, "calls")
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv("CALLS", calls)
	p := &thinPool{name: "it's $a pool"}
	commands := p.reconcileCommands("/var/lib/a store/'s.db", "/dev/loop7")
	if _, err := run(t.Context(), "sh", "-euc", "cd "+dir+"\n"+commands); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(calls)
	want := "pmctl [stats] [--commit] [--store] [/var/lib/a store/'s.db]\n" +
		"dmsetup [message] [it's $a pool] [0] [reserve_metadata_snap]\n" +
		"thin_ls [--metadata-snap] [--format] [DEV] [/dev/loop7]\n" +
		"dmsetup [message] [it's $a pool] [0] [release_metadata_snap]\n" +
		"pmctl [reconcile] [-n] [--store] [/var/lib/a store/'s.db] [--pool] [pool.txt] " +
		"[--pool-name] [it's $a pool] [--as-of] [7]\n"
	if err != nil || string(got) != want {
		t.Errorf("%v\n%s, want\n%s", err, got, want)
	}
}

func TestLoggedCommandsAreThoseOfTheOperatorsPage(t *testing.T) {
	text, err := os.ReadFile("../../../docs/operators.md")
	if err != nil {
		t.Fatal(err)
	}
	page := strings.ReplaceAll(string(text), `"$PM_STORE"`, "/p.db")
	page = strings.Join(strings.Fields(strings.ReplaceAll(page, "\\\n", " ")), " ")
	p := &thinPool{name: "containerd-pool"}
	want := p.reconcileCommands("/p.db", "/dev/mapper/containerd-pool_tmeta")
	if !strings.Contains(page, want) {
		t.Errorf("docs/operators.md has no %s", want)
	}
}

func TestToolThatHangsIsEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	started := make(chan error, 1)
	go func() {
		_, err := run(ctx, "sleep", "1000")
		started <- err
	}()
	cancel()
	if err := <-started; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if text, err := run(t.Context(), "echo", "x"); text != "x\n" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	_, err := run(t.Context(), "sh", "-c", "echo bad >&2; exit 3")
	if err == nil || !strings.Contains(err.Error(), "bad") {
		t.Error(err)
	}
}
