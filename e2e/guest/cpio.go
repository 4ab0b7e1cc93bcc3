package guest

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"sort"
	"strings"
)

// entry is one file of the guest's root: the contents of a file of the host, a text, a symbolic
// link or, without any of them, a directory.
type entry struct {
	host, text, link string
	mode             fs.FileMode
}

// writeCpio writes entries, by their paths in the guest, in the format that the kernel unpacks. The
// directories above them are made.
func writeCpio(w io.Writer, entries map[string]entry) error {
	all := make(map[string]entry, len(entries))
	for name, e := range entries {
		name = strings.TrimPrefix(path.Clean(name), "/")
		all[name] = e
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			if _, ok := all[dir]; !ok {
				all[dir] = entry{mode: 0o755}
			}
		}
	}
	names := make([]string, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	sort.Strings(names) // a directory comes before what is in it
	c := &cpio{w: bufio.NewWriterSize(w, 1<<20)}
	for _, name := range names {
		if err := c.add(name, all[name]); err != nil {
			return fmt.Errorf("%s of the guest: %w", name, err)
		}
	}
	if err := c.write("TRAILER!!!", 0, 0, strings.NewReader("")); err != nil {
		return err
	}
	return c.w.Flush()
}

type cpio struct {
	w     *bufio.Writer
	inode int
	size  int64
}

// The types of a file in the format.
const (
	typeDirectory = 0o040000
	typeFile      = 0o100000
	typeLink      = 0o120000
)

func (c *cpio) add(name string, e entry) error {
	mode := uint32(e.mode.Perm())
	switch {
	case e.link != "":
		return c.write(name, typeLink|0o777, int64(len(e.link)), strings.NewReader(e.link))
	case e.host != "":
		file, err := os.Open(e.host)
		if err != nil {
			return err
		}
		defer file.Close()
		info, err := file.Stat()
		if err != nil {
			return err
		}
		return c.write(name, typeFile|uint32(info.Mode().Perm()), info.Size(), file)
	case e.text != "":
		return c.write(name, typeFile|mode, int64(len(e.text)), strings.NewReader(e.text))
	}
	return c.write(name, typeDirectory|mode, 0, strings.NewReader(""))
}

// write writes one header ("newc"), the name and the contents, each padded to four bytes.
func (c *cpio) write(name string, mode uint32, size int64, contents io.Reader) error {
	c.inode++
	header := fmt.Sprintf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		c.inode, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, len(name)+1, 0)
	if err := c.pad(io.WriteString(c.w, header+name+"\x00")); err != nil {
		return err
	}
	n, err := io.CopyN(c.w, contents, size)
	if err != nil {
		return err
	}
	return c.pad(int(n), nil)
}

// pad accounts for n bytes that were written and fills them up to a multiple of four.
func (c *cpio) pad(n int, err error) error {
	if err != nil {
		return err
	}
	c.size += int64(n)
	for ; c.size%4 != 0; c.size++ {
		if err := c.w.WriteByte(0); err != nil {
			return err
		}
	}
	return nil
}
