package main

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// writeConfig writes a configuration and returns its path.
func writeConfig(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const snapshotterSection = `
[snapshotter]
root_path = "/var/lib/x"
pool_name = "pool"
base_image_size = "10GB"
`

func TestShippedConfigurationHasTheDefaults(t *testing.T) {
	shipped, err := readConfig("devmapper-snapshotter.toml")
	if err != nil {
		t.Fatal(err)
	}
	if shipped.Address != defaultAddress || shipped.stop != defaultStop ||
		shipped.Metrics.Address != "" || !shipped.Recovery.CompareAtStart ||
		shipped.Snapshotter.PoolName != "pool" {
		t.Errorf("%+v", shipped)
	}
	// With every comment that is a setting in force, the values are the same.
	text, err := os.ReadFile("devmapper-snapshotter.toml")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "# ") {
			line = line[1:]
		}
		lines = append(lines, line)
	}
	explicit, err := readConfig(writeConfig(t, strings.Join(lines, "")))
	if err != nil {
		t.Fatal(err)
	}
	if explicit.Metrics.Address != "127.0.0.1:9464" {
		t.Errorf("metrics.address is %q", explicit.Metrics.Address)
	}
	explicit.Metrics.Address = ""
	explicit.Snapshotter.FileSystemType = shipped.Snapshotter.FileSystemType
	if *explicit != *shipped {
		t.Errorf("%+v, and with the comments %+v", shipped, explicit)
	}
}

func TestUnitNamesTheDefaults(t *testing.T) {
	for file, wanted := range map[string][]string{
		"devmapper-snapshotter.service": {
			"-config " + defaultConfig, "Type=notify", "ExecReload=/bin/sh -c \"kill -HUP $MAINPID\"\n",
		},
		"devmapper-snapshotter.socket": {"ListenStream=" + defaultAddress + "\n"},
	} {
		text, err := os.ReadFile(filepath.Join("systemd", file))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range wanted {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s has no %q", file, want)
			}
		}
	}
}

func TestWrongConfigurationIsRefused(t *testing.T) {
	for want, text := range map[string]string{
		"address is \"x.sock\"":             "address = \"x.sock\"\n" + snapshotterSection,
		"at most 107":                       "address = \"/" + strings.Repeat("x", 107) + "\"\n",
		"stop_timeout is \"soon\"":          "stop_timeout = \"soon\"\n" + snapshotterSection,
		"stop_timeout is \"0s\"":            "stop_timeout = \"0s\"\n" + snapshotterSection,
		"log.format is \"xml\"":             "[log]\nformat = \"xml\"\n" + snapshotterSection,
		"metrics.address is \"9464\"":       "[metrics]\naddress = \"9464\"\n" + snapshotterSection,
		"snapshotter.root_path is \"\"":     "",
		"snapshotter.root_path is \"here\"": "[snapshotter]\nroot_path = \"here\"\n",
		"snapshotter.pool_name is \"a/b\"":  "[snapshotter]\npool_name = \"a/b\"\n",
		"base_image_size is missing":        "[snapshotter]\nroot_path = \"/x\"\n",
		"adress":                            "adress = \"/x\"\n" + snapshotterSection,
		"pool_nam":                          snapshotterSection + "pool_nam = \"pool\"\n",
		"compare_at_start = \"no\"":         "[recovery]\ncompare_at_start = \"no\"\n",
		"expected":                          "address = \n",
	} {
		path := writeConfig(t, text)
		if _, err := readConfig(path); err == nil || !strings.Contains(err.Error(), want) ||
			!strings.Contains(err.Error(), path) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if _, err := readConfig("/nowhere/config.toml"); err == nil ||
		!strings.Contains(err.Error(), "/nowhere/config.toml") {
		t.Error(err)
	}
}

// What the store's recovery logs has the form of the rest.
func TestEverythingIsLoggedInOneForm(t *testing.T) {
	before := slog.Default()
	defer slog.SetDefault(before)
	for format, want := range map[string]string{
		"text": `level=warning msg="a difference" count=2 error=bad pool=p`,
		"json": `{"count":2,"error":"bad","level":"warning","msg":"a difference","pool":"p","time":`,
	} {
		c := &config{}
		c.Log.Format, c.Log.Level = format, "warn"
		var logged bytes.Buffer
		if err := setLog(c, &logged); err != nil {
			t.Fatal(err)
		}
		slog.With("pool", "p").Warn("a difference", "count", 2, "error", errors.New("bad"))
		slog.Info("nothing differs")
		if !strings.Contains(logged.String(), want) || strings.Count(logged.String(), "\n") != 1 {
			t.Errorf("%s: %s", format, &logged)
		}
	}
}

func TestArguments(t *testing.T) {
	good := writeConfig(t, snapshotterSection)
	for _, c := range []struct {
		arguments      []string
		stdout, failed string
	}{
		{[]string{"-version"}, "devmapper-snapshotter ", ""},
		{[]string{"-check", "-config", good}, "", ""},
		{[]string{"-check", "-config", "/nowhere"}, "", "/nowhere"},
		{[]string{"more"}, "", `what is "more"`},
		{[]string{"-nonsense"}, "", "not defined"},
		{[]string{"-config", writeConfig(t, "[log]\nlevel = \"loud\"\n"+snapshotterSection)}, "",
			`log.level is "loud"`},
		{[]string{"-help"}, "", ""},
	} {
		var stdout, stderr bytes.Buffer
		err := run(t.Context(), c.arguments, &stdout, &stderr)
		if c.failed == "" && err != nil ||
			c.failed != "" && (err == nil || !strings.Contains(err.Error(), c.failed)) {
			t.Errorf("%q: %v, want %q", c.arguments, err, c.failed)
		}
		if !strings.HasPrefix(stdout.String(), c.stdout) {
			t.Errorf("%q writes %q, want %q", c.arguments, stdout.String(), c.stdout)
		}
	}
}

func TestDefaultStopIsShorterThanTheUnits(t *testing.T) {
	if defaultStop >= 45*time.Second {
		t.Error("systemd kills the process before its own timeout")
	}
}
