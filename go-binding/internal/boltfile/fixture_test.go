package boltfile

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// said is what containerd's own store reads from a fixture; see containerdtest/fixtures.
type said struct {
	Devices  []Device        `json:"devices"`
	Keys     [][]byte        `json:"keys"`
	IDs      map[string]byte `json:"ids"`
	Sequence uint64          `json:"sequence"`
}

func testdata(name string) string {
	return filepath.Join("..", "..", "testdata", name)
}

func upstreamSays(t *testing.T, name string) *said {
	t.Helper()
	text, err := os.ReadFile(testdata(name + ".json"))
	if err != nil {
		t.Fatal(err)
	}
	s := new(said)
	if err := json.Unmarshal(text, s); err != nil {
		t.Fatal(err)
	}
	return s
}

// readFile opens and reads a file, and closes it.
func readFile(path string) (*Contents, error) {
	file, err := Open(path, time.Second)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return file.Read(nil)
}

// bytesOf returns a fixture's bytes.
func bytesOf(t *testing.T, name string) []byte {
	t.Helper()
	bytes, err := os.ReadFile(testdata(name + ".bolt"))
	if err != nil {
		t.Fatal(err)
	}
	return bytes
}

// fileOf makes a file of bytes.
func fileOf(t *testing.T, bytes []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file.bolt")
	if err := os.WriteFile(path, bytes, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
