//go:build linux

package recovery

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// noteSuffix is that of the file beside the store.
const noteSuffix = ".recovery"

// note is what recovery has to know after the process, or the machine, has gone down.
type note struct {
	// LastSnapshot is the highest number of a snapshot that the snapshotter's metadata is known to
	// have committed, and Commit the store's commit at which that was known. A store with fewer
	// commits is another one.
	LastSnapshot uint64 `json:"last_snapshot"`
	Commit       uint64 `json:"commit"`
	// Reserved says that the pool may have a metadata snapshot of this package's, and Boot in which
	// boot of the machine it was reserved. Root, once it is known, is its block in the pool's
	// metadata.
	Reserved bool   `json:"metadata_snapshot,omitempty"`
	Boot     string `json:"metadata_snapshot_boot,omitempty"`
	Root     string `json:"metadata_snapshot_root,omitempty"`
}

// known returns the last snapshot, or 0 if the note is of another store than the one with so many
// commits.
func (n *note) known(commits uint64) uint64 {
	if n.Commit > commits {
		return 0
	}
	return n.LastSnapshot
}

// raise notes that the metadata has committed a number.
func (n *note) raise(last, commits uint64) {
	if n.known(commits) < last || n.Commit > commits {
		n.LastSnapshot, n.Commit = last, commits
	}
}

// notes is the file of a note. A note that cannot be read is taken for an empty one: it is only
// there to keep more devices than without it.
type notes struct {
	path string
	mu   sync.Mutex
}

func (n *notes) read() (note, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.load()
}

func (n *notes) load() (found note, err error) {
	text, err := os.ReadFile(n.path)
	if errors.Is(err, fs.ErrNotExist) {
		return note{}, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &found)
	}
	if err != nil {
		return note{}, fmt.Errorf("%s, the notes of the recovery: %w", n.path, err)
	}
	return found, nil
}

// change lets fn change the note, and writes it, durably, if that has made a difference.
func (n *notes) change(fn func(*note)) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	before, damaged := n.load()
	after := before
	if fn(&after); after == before && damaged == nil {
		return nil
	}
	text, err := json.Marshal(after)
	if err != nil {
		return err
	}
	if err := writeFile(n.path, append(text, '\n')); err != nil {
		return fmt.Errorf("the notes of the recovery: %w", err)
	}
	return nil
}

// writeFile replaces a file as a whole.
func writeFile(path string, text []byte) (err error) {
	file, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return errors.Join(err, os.Remove(path+".new"))
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
