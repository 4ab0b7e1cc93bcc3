package containerd

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// findSource finds containerd's source, which for a version is a copy in out: its absolute path,
// and for a version also that.
func findSource(source, out string) (*Overlay, error) {
	if _, err := os.Stat(filepath.Join(source, "go.mod")); err == nil {
		dir, err := filepath.Abs(source)
		return &Overlay{Source: dir}, err
	}
	if strings.ContainsRune(source, filepath.Separator) {
		return nil, fmt.Errorf("%s is not the directory of a Go module", source)
	}
	if source == "" {
		return nil, errors.New("which containerd? Give its source directory or a version")
	}
	cached, err := download(source)
	if err != nil {
		return nil, err
	}
	if err := claimOut(out); err != nil {
		return nil, err
	}
	found := &Overlay{
		Source: filepath.Join(out, "source"), Version: cached.Version, Revision: cached.Origin.Hash,
	}
	if found.Revision == "" { // not every proxy says it
		found.Revision = found.Version
	}
	if err := os.RemoveAll(found.Source); err != nil {
		return nil, err
	}
	return found, os.CopyFS(found.Source, os.DirFS(cached.Dir))
}

// module is what the go command says of a module that it has downloaded.
type module struct {
	Dir, Version string
	Origin       struct{ Hash string }
}

// download fetches a version of containerd through the module proxy, into the module cache.
func download(version string) (*module, error) {
	if version[0] >= '0' && version[0] <= '9' {
		version = "v" + version
	}
	path := "github.com/containerd/containerd/v2"
	if version == "v1" || strings.HasPrefix(version, "v1.") {
		path = "github.com/containerd/containerd"
	}
	// In a directory without a go.mod, so that no requirement changes the version.
	nowhere, err := os.MkdirTemp("", "containerd-overlay-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(nowhere)
	text, err := goCommand(nowhere, "mod", "download", "-json", path+"@"+version)
	if err != nil {
		return nil, err
	}
	var found module
	if err := json.Unmarshal(text, &found); err != nil {
		return nil, err
	}
	return &found, nil
}
