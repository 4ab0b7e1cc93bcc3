//go:build linux && cgo

package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	barWidth = 40
	// barPause is the least time before the first drawing, since quick stages need no bar, and
	// between two drawings.
	barPause = 100 * time.Millisecond
)

// bar is a progress bar of one line.
type bar struct {
	to    io.Writer
	begun time.Time
	drawn time.Time
	shown bool
}

// show draws the progress of a stage.
func (b *bar) show(stage string, done, total int) {
	now := time.Now()
	if b.begun.IsZero() {
		b.begun, b.drawn = now, now
	}
	if now.Sub(b.drawn) < barPause && !(b.shown && done == total) {
		return
	}
	b.drawn, b.shown = now, true
	filled := barWidth
	if total > 0 {
		filled = barWidth * done / total
	}
	fmt.Fprintf(b.to, "\r%-9s [%s%s] %d of %d devices, %.1f s ", stage,
		strings.Repeat("#", filled), strings.Repeat(".", barWidth-filled),
		done, total, now.Sub(b.begun).Seconds())
}

// end ends the line, if there is one.
func (b *bar) end() {
	if b.shown {
		fmt.Fprintln(b.to)
		b.shown = false
	}
}

func isTerminal(file *os.File) bool {
	_, err := unix.IoctlGetTermios(int(file.Fd()), unix.TCGETS)
	return err == nil
}
