package containerd

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// findSource returns the absolute path of containerd's source, which for a version is a copy in
// out.
func findSource(source, out string) (string, error) {
	if _, err := os.Stat(filepath.Join(source, "go.mod")); err == nil {
		return filepath.Abs(source)
	}
	if strings.ContainsRune(source, filepath.Separator) {
		return "", fmt.Errorf("%s is not the directory of a Go module", source)
	}
	if source == "" {
		return "", errors.New("which containerd? Give its source directory or a version")
	}
	cached, err := download(source)
	if err != nil {
		return "", err
	}
	if err := claimOut(out); err != nil {
		return "", err
	}
	dir := filepath.Join(out, "source")
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	return dir, os.CopyFS(dir, os.DirFS(cached))
}

// download fetches a version of containerd through the module proxy and returns its directory in
// the module cache.
func download(version string) (string, error) {
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
		return "", err
	}
	defer os.RemoveAll(nowhere)
	text, err := goCommand(nowhere, "mod", "download", "-json", path+"@"+version)
	if err != nil {
		return "", err
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(text, &module); err != nil {
		return "", err
	}
	return module.Dir, nil
}
