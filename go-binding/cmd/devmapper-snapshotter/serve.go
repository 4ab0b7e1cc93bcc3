package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/v2/contrib/snapshotservice"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/plugins/snapshots/devmapper"
	"github.com/containerd/log"
	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"
	poolmetadata "github.com/pool-metadata/pool-metadata/go-binding"
	"github.com/pool-metadata/pool-metadata/go-binding/containerd/recovery"
	"github.com/pool-metadata/pool-metadata/go-binding/containerd/settings"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthapi "google.golang.org/grpc/health/grpc_health_v1"
)

// errStillRunning says that the process ends in the middle of calls, as if it were killed.
var errStillRunning = errors.New("calls still run")

// serve opens the snapshotter and serves it until the context ends.
func serve(ctx context.Context, c *config) (err error) {
	compare, err := settings.Compare()
	if err != nil {
		return err
	}
	metrics := newMetrics(c.Snapshotter.PoolName)
	// From the start on, since the signal ends a process that does not take it. One more is kept
	// while the store is being compared.
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, unix.SIGHUP)
	defer signal.Stop(hangups)
	if err := onStore(func(store *poolmetadata.PoolMetadata, step *recovery.Recovery) {
		metrics.setStore(store)
		step.CompareInBackground(c.Recovery.CompareAtStart && compare, hangups)
	}); err != nil {
		return err
	}
	// Everything that can be refused at once comes before the snapshotter, which changes things.
	socket, err := listen(c.Address)
	if err != nil {
		return err
	}
	defer socket.Close()
	pages, err := metrics.listen(c.Metrics.Address)
	if err != nil {
		return err
	}
	if pages != nil {
		defer pages.Close()
	}
	if err := checkUnused(filepath.Join(c.Snapshotter.RootPath, "metadata.db")); err != nil {
		return err
	}
	snapshotter, err := devmapper.NewSnapshotter(ctx, &c.Snapshotter)
	if err != nil {
		return fmt.Errorf("the snapshotter of the pool %q: %w", c.Snapshotter.PoolName, err)
	}
	defer func() {
		metrics.setStore(nil)
		// To close it would wait for the calls that still run.
		if !errors.Is(err, errStillRunning) {
			err = errors.Join(err, snapshotter.Close())
		}
	}()
	return serveSnapshotter(ctx, c, snapshotter, socket, pages, metrics)
}

// serveSnapshotter serves an open snapshotter. At the end of the context it takes no more calls,
// and waits for those that run.
func serveSnapshotter(
	ctx context.Context, c *config, snapshotter snapshots.Snapshotter, socket, pages net.Listener,
	metrics *metrics,
) error {
	server := grpc.NewServer(grpc.UnaryInterceptor(metrics.observe))
	snapshotsapi.RegisterSnapshotsServer(server, snapshotservice.FromSnapshotter(snapshotter))
	state := health.NewServer()
	healthapi.RegisterHealthServer(server, state)
	for _, name := range []string{"", snapshotsapi.Snapshots_ServiceDesc.ServiceName} {
		state.SetServingStatus(name, healthapi.HealthCheckResponse_SERVING)
	}
	failed := make(chan error, 2)
	go func() { failed <- server.Serve(socket) }()
	if pages != nil {
		web := &http.Server{Handler: metrics.handler(), ReadHeaderTimeout: 10 * time.Second}
		defer web.Close()
		go func() { failed <- web.Serve(pages) }()
	}
	log.G(ctx).WithField("address", socket.Addr().String()).
		WithField("pool", c.Snapshotter.PoolName).Info("serving")
	notify(daemon.SdNotifyReady)

	select {
	case err := <-failed:
		server.Stop()
		return fmt.Errorf("serving ended: %w", err)
	case <-ctx.Done():
	}
	log.L.Info("stopping")
	notify(daemon.SdNotifyStopping)
	state.Shutdown()
	stopped := make(chan struct{})
	go func() {
		server.GracefulStop()
		close(stopped)
	}()
	select {
	case <-stopped:
		log.L.Info("stopped")
		return nil
	case <-time.After(c.stop):
		return fmt.Errorf("%w after %s", errStillRunning, c.stop)
	}
}

func notify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.L.WithError(err).Warn("systemd was not notified")
	}
}

// listen returns the socket that systemd has opened, or opens one.
func listen(address string) (net.Listener, error) {
	inherited, err := activation.Listeners()
	if err != nil {
		return nil, fmt.Errorf("the socket of systemd: %w", err)
	}
	switch len(inherited) {
	case 0:
	case 1:
		if inherited[0] == nil {
			return nil, errors.New("the socket of systemd is not one to listen on")
		}
		return inherited[0], nil
	default:
		return nil, fmt.Errorf("systemd has passed %d sockets, and one is expected", len(inherited))
	}
	if err := removeStale(address); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(address), 0o711); err != nil {
		return nil, fmt.Errorf("the directory of the socket: %w", err)
	}
	// Root alone may connect, from the start.
	before := unix.Umask(0o177)
	defer unix.Umask(before)
	socket, err := net.Listen("unix", address)
	if err != nil {
		return nil, fmt.Errorf("the socket: %w", err)
	}
	return socket, nil
}

// removeStale removes the socket that a process left when it was killed.
func removeStale(address string) error {
	info, err := os.Lstat(address)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s exists and is not a socket: choose another address, or remove it",
			address)
	}
	connection, err := net.DialTimeout("unix", address, time.Second)
	if err == nil {
		connection.Close()
		return fmt.Errorf("another process listens on %s: stop it first", address)
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return fmt.Errorf("%s cannot be probed: %w", address, err)
	}
	return os.Remove(address)
}

// checkUnused refuses a snapshotter's metadata that another process has open: to open it as well
// would wait for ever.
func checkUnused(path string) error {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: 2 * time.Second})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return fmt.Errorf("%s is in use by another process: containerd's own devmapper plugin, "+
			"which disabled_plugins turns off, or another devmapper-snapshotter", path)
	}
	if err != nil {
		return fmt.Errorf("%s, the snapshotter's metadata: %w", path, err)
	}
	return db.Close()
}
