//go:build linux && cgo

// Command victim is a process to be killed: victim PREFIX PATH opens the store, prints "O", and
// takes step after step, with a "+" after each, until it is killed. tests/kills/steps.rs takes
// these steps too and says what they leave.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	poolmetadata "github.com/pool-metadata/pool-metadata/go-binding"
)

var (
	ctx    = context.Background()
	store  *poolmetadata.PoolMetadata
	prefix string
)

const large = 20000

func main() {
	if len(os.Args) != 3 {
		os.Exit(2)
	}
	// One that hangs ends, and the test fails.
	time.AfterFunc(10*time.Minute, func() { os.Exit(3) })
	prefix = os.Args[1]
	var err error
	store, err = poolmetadata.Open(os.Args[2], poolmetadata.WithMapSize(1<<20),
		poolmetadata.WithLockWait(30*time.Second))
	ok(err)
	say("O")
	for step := 0; ; step++ {
		ok(take(step))
		say("+")
	}
}

func ok(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "victim:", err)
		os.Exit(1)
	}
}

func say(what string) {
	if _, err := os.Stdout.WriteString(what); err != nil {
		os.Exit(2)
	}
}

// device is the device that a step concerns.
func device(step int, suffix string, textLen int) poolmetadata.DeviceInfo {
	return poolmetadata.DeviceInfo{
		Name:  fmt.Sprint(prefix, "-", step/8, suffix),
		Size:  4096,
		State: poolmetadata.Created,
		Error: strings.Repeat("e", textLen),
	}
}

func change(kind poolmetadata.ChangeKind, info poolmetadata.DeviceInfo) poolmetadata.Change {
	return poolmetadata.Change{Kind: kind, Record: &poolmetadata.Record{DeviceInfo: info}}
}

func take(step int) error {
	own := device(step, "", 0)
	a, b := device(step, "-a", 0), device(step, "-b", 0)
	switch step % 8 {
	case 0:
		return store.AddDevice(ctx, &own)
	case 1:
		return store.UpdateDevice(ctx, own.Name, func(info *poolmetadata.DeviceInfo) error {
			info.Error = strings.Repeat("e", step*97%5000)
			return nil
		})
	case 2:
		own.State = poolmetadata.Activated
		return store.Apply([]poolmetadata.Change{
			change(poolmetadata.ChangeAdd, a),
			change(poolmetadata.ChangeAdd, b),
			change(poolmetadata.ChangeState, own),
		})
	case 3:
		return store.WalkDevices(ctx, func(*poolmetadata.DeviceInfo) error { return nil })
	case 4:
		return store.MarkFaulty(ctx, a.Name)
	case 5:
		return store.ChangeDeviceState(ctx, b.Name, poolmetadata.Suspended)
	case 6:
		textLen := 0
		if step/8%4 == 3 {
			textLen = large
		}
		return store.Apply([]poolmetadata.Change{
			change(poolmetadata.ChangeRemove, b),
			change(poolmetadata.ChangeAdd, device(step, "-L", textLen)),
		})
	}
	if step/8%2 == 0 {
		return store.RemoveDevice(ctx, own.Name)
	}
	return store.AddDevice(ctx, &a)
}
