package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/plugins/snapshots/devmapper"
	"github.com/pelletier/go-toml/v2"
)

// The defaults of the configuration, which names the values.
const (
	defaultAddress = "/run/pool-metadata/devmapper-snapshotter.sock"
	defaultStop    = 30 * time.Second
)

// config is the configuration file.
type config struct {
	// Address is the path of the socket that containerd connects to.
	Address string `toml:"address"`
	// StopTimeout is how long a stop waits for the calls that run, such as "30s".
	StopTimeout string `toml:"stop_timeout"`

	Log struct {
		// Level is trace, debug, info, warn, error, fatal or panic.
		Level string `toml:"level"`
		// Format is text or json.
		Format string `toml:"format"`
	} `toml:"log"`

	Metrics struct {
		// Address is where to serve metrics to Prometheus, such as "127.0.0.1:9464". Without one,
		// none are served.
		Address string `toml:"address"`
	} `toml:"metrics"`

	Recovery struct {
		// CompareAtStart says whether each start compares the store with the pool, as SIGHUP does.
		CompareAtStart bool `toml:"compare_at_start"`
	} `toml:"recovery"`

	// Snapshotter has what containerd reads from its own section
	// [plugins."io.containerd.snapshotter.v1.devmapper"].
	Snapshotter devmapper.Config `toml:"snapshotter"`

	stop time.Duration
}

// readConfig reads a file and fills in the defaults.
func readConfig(path string) (*config, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("the configuration: %w", err)
	}
	defer file.Close()
	c := &config{Address: defaultAddress, StopTimeout: defaultStop.String()}
	c.Log.Level, c.Log.Format = "info", "text"
	c.Recovery.CompareAtStart = true
	if err := toml.NewDecoder(file).DisallowUnknownFields().Decode(c); err != nil {
		return nil, fmt.Errorf("the configuration %s: %s", path, explain(err))
	}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("the configuration %s: %w", path, err)
	}
	return c, nil
}

// explain returns the text of an error of the decoder, with the lines that it is about.
func explain(err error) string {
	var unknown *toml.StrictMissingError
	if errors.As(err, &unknown) {
		return "unknown names:\n" + unknown.String()
	}
	var wrong *toml.DecodeError
	if errors.As(err, &wrong) {
		return wrong.String()
	}
	return err.Error()
}

// check refuses values that cannot work. The snapshotter checks its own again.
func (c *config) check() error {
	var wrong []error
	refuse := func(format string, arguments ...any) {
		wrong = append(wrong, fmt.Errorf(format, arguments...))
	}
	if !filepath.IsAbs(c.Address) {
		refuse("address is %q, and must be the absolute path of a socket", c.Address)
	}
	// The kernel's limit for the name of a socket.
	if len(c.Address) > 107 {
		refuse("address has %d bytes, and a socket's path at most 107", len(c.Address))
	}
	var err error
	if c.stop, err = time.ParseDuration(c.StopTimeout); err != nil || c.stop <= 0 {
		refuse("stop_timeout is %q, and must be a time such as \"30s\"", c.StopTimeout)
	}
	if c.Log.Format != "text" && c.Log.Format != "json" {
		refuse("log.format is %q, and must be text or json", c.Log.Format)
	}
	if c.Metrics.Address != "" {
		if _, _, err := net.SplitHostPort(c.Metrics.Address); err != nil {
			refuse("metrics.address is %q, and must be a host and a port: %w", c.Metrics.Address, err)
		}
	}
	s := &c.Snapshotter
	if !filepath.IsAbs(s.RootPath) {
		refuse("snapshotter.root_path is %q, and must be an absolute path", s.RootPath)
	}
	if s.PoolName == "" || strings.ContainsRune(s.PoolName, '/') {
		refuse("snapshotter.pool_name is %q, and must be the name of a thin-pool in /dev/mapper",
			s.PoolName)
	}
	if s.BaseImageSize == "" {
		refuse("snapshotter.base_image_size is missing; it is the size of a device, such as \"10GB\"")
	}
	return errors.Join(wrong...)
}
