package main

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"
)

// logOf writes a log with sectors of a size.
func logOf(sector int, entries ...[]byte) []byte {
	le := binary.LittleEndian
	text := make([]byte, sector)
	le.PutUint64(text, logMagic)
	le.PutUint64(text[8:], logVersion)
	le.PutUint64(text[16:], uint64(len(entries)))
	le.PutUint32(text[24:], uint32(sector))
	for _, e := range entries {
		text = append(text, e...)
	}
	return text
}

func logged(sector int, flags uint64, start, sectors int, extra string) []byte {
	le := binary.LittleEndian
	text := make([]byte, sector)
	le.PutUint64(text, uint64(start))
	le.PutUint64(text[8:], uint64(sectors))
	le.PutUint64(text[16:], flags)
	if flags&flagMark != 0 {
		le.PutUint64(text[24:], uint64(len(extra)))
		copy(text[headerSize:], extra)
	} else if flags&flagDiscard == 0 {
		text = append(text, bytes.Repeat([]byte(extra), sectors*sectorUnit)...)
	}
	return text
}

// image is a device in memory.
type image []byte

func (i image) WriteAt(data []byte, offset int64) (int, error) {
	return copy(i[offset:], data), nil
}

func TestReplayedLogGivesTheDevice(t *testing.T) {
	for _, sector := range []int{512, 4096} {
		log := bytes.NewReader(logOf(sector,
			logged(sector, 0, 0, 2, "a"), logged(sector, flagMark, 0, 0, "begin"),
			logged(sector, flagFlush, 0, 0, ""), logged(sector, 0, 1, 1, "b"),
			logged(sector, flagFlush|flagFUA, 3, 1, "c"), logged(sector, flagDiscard, 0, 1, ""),
			logged(sector, flagMark, 0, 0, "end")))
		entries, err := readLog(log)
		if err != nil {
			t.Fatal(err)
		}
		points, err := cuts(entries, "begin")
		if err != nil || !slices.Equal(points, []cut{{3, 5}, {5, 7}, {7, 7}}) {
			t.Fatalf("%v, %v", points, err)
		}
		device := make(image, 4*sectorUnit)
		for n, want := range []string{"aa\x00\x00", "aa\x00\x00", "aa\x00\x00", "ab\x00\x00", "ab\x00c",
			"\x00b\x00c"} {
			if err := entries[n].apply(log, device); err != nil {
				t.Fatal(err)
			}
			got := string([]byte{device[0], device[512], device[1024], device[2047]})
			if got != want {
				t.Errorf("after entry %d: %q, want %q", n, got, want)
			}
		}
	}
}

func TestDamagedLogIsRefused(t *testing.T) {
	good := logOf(512, logged(512, 0, 0, 1, "a"))
	change := func(at int, value byte) []byte {
		text := bytes.Clone(good)
		text[at] = value
		return text
	}
	for want, text := range map[string][]byte{
		"super block":           nil,
		"not a log":             change(0, 0),
		"of another version":    change(8, 2),
		"sectors have":          change(24, 1),
		"entry 0 of 1":          good[:600],
		"entry 1 of 2":          change(16, 2),
		"is at sector":          change(512+7, 0xff),
		"is a mark of":          logOf(512, append(logged(512, flagMark, 0, 0, "")[:24], 0xff, 0xff)),
		"nothing after":         logOf(512, logged(512, flagFlush, 0, 0, "")),
		"data of a write of 51": good[:1024+100],
	} {
		if want == "is a mark of" {
			text = append(text, make([]byte, 512)...)
		}
		log := bytes.NewReader(text)
		entries, err := readLog(log)
		if err == nil && len(entries) > 0 {
			err = entries[0].apply(log, make(image, 512))
		}
		if err == nil {
			_, err = cuts(entries, "begin")
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
