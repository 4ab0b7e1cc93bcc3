package boltfile

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

func itoa(id uint32) string { return strconv.FormatUint(uint64(id), 10) }

func lockExclusive(file *os.File) error {
	return unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
}

// survives reads a file of damaged bytes and reports whether the damage was found. Contents and an
// error are both fine; anything else ends the test's process.
func survives(t *testing.T, path string, damagedBytes []byte) (found bool) {
	t.Helper()
	if err := os.WriteFile(path, damagedBytes, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := readFile(path)
	if after, _ := os.ReadFile(path); !bytes.Equal(after, damagedBytes) {
		t.Fatal("the file was changed")
	}
	return err != nil
}

func TestDamagedFilesAreErrors(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, fixture := range []string{"pool", "odd"} {
		sound := bytesOf(t, fixture)
		path := fileOf(t, sound)
		found := 0
		const rounds = 1000
		for range rounds {
			damage := bytes.Clone(sound)
			switch random.IntN(4) {
			case 0: // single bits
				for range 1 + random.IntN(8) {
					damage[random.IntN(len(damage))] ^= 1 << random.IntN(8)
				}
			case 1: // in the heads of pages, where the structure is
				for range 1 + random.IntN(4) {
					at := random.IntN(len(damage)/4096)*4096 + random.IntN(64)
					damage[at] = byte(random.Uint32())
				}
			case 2: // a page in the place of another
				pages := len(damage) / 4096
				from, to := random.IntN(pages)*4096, random.IntN(pages)*4096
				copy(damage[to:to+4096], sound[from:from+4096])
			case 3: // a stretch of one byte
				at := random.IntN(len(damage) - 512)
				fill := byte(random.IntN(2) * 255)
				for i := range 1 + random.IntN(512) {
					damage[at+i] = fill
				}
			}
			if survives(t, path, damage) {
				found++
			}
		}
		// Damage that is not found is in unused space, in free pages, or inside a value: bbolt has
		// no checksum for those.
		t.Logf("%s: damage found in %d of %d files", fixture, found, rounds)
		if found < rounds/10 {
			t.Errorf("%s: damage was found in %d of %d files only", fixture, found, rounds)
		}
	}
}

func TestTruncatedFilesAreErrors(t *testing.T) {
	sound := bytesOf(t, "pool")
	path := fileOf(t, sound)
	m := newestMetaOf(t, sound)
	for size := 0; size < len(sound); size += 1024 {
		if found := survives(t, path, sound[:size]); !found && uint64(size) < m.high*uint64(m.pageSize) {
			t.Errorf("a file of %d bytes of %d was taken for sound", size, m.high*uint64(m.pageSize))
		}
	}
}

func newestMetaOf(t *testing.T, file []byte) meta {
	t.Helper()
	c := checker{file: bytes.NewReader(file), size: uint64(len(file))}
	m, err := c.newestMeta()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Damage that would make bbolt loop for ever, or allocate all memory.
func TestCraftedDamage(t *testing.T) {
	sound := bytesOf(t, "pool")
	m := newestMetaOf(t, sound)
	branch := -1
	for at := 2 * 4096; at+4096 <= int(m.high)*4096; at += 4096 {
		p := page{sound[at : at+4096]}
		if p.flags() == branchPage && p.count() > 1 && p.id() == uint64(at/4096) {
			branch = at
		}
	}
	if branch < 0 {
		t.Fatal("the fixture has no branch page")
	}
	freelist := int(m.freelist) * 4096
	cases := map[string]func(file []byte){
		"a page below itself": func(file []byte) {
			native.PutUint64(file[branch+24:], uint64(branch/4096))
		},
		"a page twice": func(file []byte) {
			copy(file[branch+40:branch+48], file[branch+24:branch+32])
		},
		"a child far away":          func(file []byte) { native.PutUint64(file[branch+24:], 1<<50) },
		"a key far away":            func(file []byte) { native.PutUint32(file[branch+16:], 1<<31) },
		"a very long key":           func(file []byte) { native.PutUint32(file[branch+20:], 1<<32-1) },
		"no elements in a branch":   func(file []byte) { native.PutUint16(file[branch+10:], 0) },
		"many elements in a branch": func(file []byte) { native.PutUint16(file[branch+10:], 0xffff) },
		"overflow":                  func(file []byte) { native.PutUint32(file[branch+12:], 1<<32-1) },
		"another kind of page": func(file []byte) {
			native.PutUint16(file[branch+8:], freelistPage)
		},
		"a number too many": func(file []byte) { native.PutUint64(file[branch:], 1) },
		"many free pages":   func(file []byte) { native.PutUint16(file[freelist+10:], 0xfffe) },
		"very many free pages": func(file []byte) {
			native.PutUint16(file[freelist+10:], countInFirst)
			native.PutUint64(file[freelist+16:], 1<<60)
		},
		"a used page is free": func(file []byte) {
			native.PutUint16(file[freelist+10:], 1)
			native.PutUint64(file[freelist+16:], uint64(branch/4096))
		},
		"no list of free pages": func(file []byte) { native.PutUint16(file[freelist+8:], leafPage) },
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			file := bytes.Clone(sound)
			change(file)
			if _, err := readFile(fileOf(t, file)); !errors.Is(err, ErrDamaged) {
				t.Errorf("%v", err)
			}
		})
	}
}

// bbolt writes its two meta pages in turn: a crash leaves one of them torn, and the other counts.
func TestOneMetaPageIsEnough(t *testing.T) {
	sound := bytesOf(t, "pool")
	for i := range 2 {
		file := bytes.Clone(sound)
		for at := range 4096 {
			file[i*4096+at] = 0xa5
		}
		got, err := readFile(fileOf(t, file))
		if i == 0 && err == nil && len(got.Devices) == 0 {
			t.Error("no devices")
		}
		if err != nil {
			t.Errorf("without meta page %d: %v", i, err)
		}
	}
}

// Each six bytes of edits are an offset into a fixture and the bytes to write there.
func FuzzRead(f *testing.F) {
	var fixtures [][]byte
	for _, name := range []string{"empty", "odd", "pool"} {
		file, err := os.ReadFile(testdata(name + ".bolt"))
		if err != nil {
			f.Fatal(err)
		}
		fixtures = append(fixtures, file)
	}
	for at := range uint32(16) {
		edit := native.AppendUint32(nil, at/2*4096+8+at%2*16)
		f.Add(uint8(at), native.AppendUint16(edit, uint16(at)))
	}
	f.Fuzz(func(t *testing.T, which uint8, edits []byte) {
		file := bytes.Clone(fixtures[int(which)%len(fixtures)])
		for ; len(edits) >= 6; edits = edits[6:] {
			at := int(native.Uint32(edits)) % (len(file) - 1)
			copy(file[at:], edits[4:6])
		}
		path := fileOf(t, file)
		if c, err := readFile(path); (c == nil) == (err == nil) {
			t.Errorf("%v and %v", c, err)
		}
		if after, _ := os.ReadFile(path); !bytes.Equal(after, file) {
			t.Error("the file was changed")
		}
	})
}
