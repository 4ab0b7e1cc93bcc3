package main

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/oci"
)

const imageName = "docker.io/library/e2e:latest"

// archive writes a tar of files, whose mode is 0755.
func archive(files map[string][]byte) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for name, text := range files {
		if err := w.WriteHeader(&tar.Header{
			Name: name, Mode: 0o755, Size: int64(len(text)), Typeflag: tar.TypeReg,
		}); err != nil {
			return nil, err
		}
		if _, err := w.Write(text); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return out.Bytes(), err
}

// makeImage makes an image of two layers, as `docker save` writes it.
func makeImage() ([]byte, error) {
	shell, err := os.ReadFile("/bin/busybox")
	if err != nil {
		return nil, err
	}
	var layers [][]byte
	for _, files := range []map[string][]byte{
		{"busybox": shell, "message": []byte("of the first layer\n")},
		{"message": []byte("of the second layer\n")},
	} {
		layer, err := archive(files)
		if err != nil {
			return nil, err
		}
		layers = append(layers, layer)
	}
	var ids, names []string
	files := map[string][]byte{}
	for i, layer := range layers {
		sum := sha256.Sum256(layer)
		ids = append(ids, "sha256:"+hex.EncodeToString(sum[:]))
		names = append(names, fmt.Sprintf("layer%d.tar", i))
		files[names[i]] = layer
	}
	if files["config.json"], err = json.Marshal(map[string]any{
		"architecture": "amd64", "os": "linux", "config": map[string]any{},
		"rootfs": map[string]any{"type": "layers", "diff_ids": ids},
	}); err != nil {
		return nil, err
	}
	if files["manifest.json"], err = json.Marshal([]map[string]any{{
		"Config": "config.json", "RepoTags": []string{"e2e:latest"}, "Layers": names,
	}}); err != nil {
		return nil, err
	}
	return archive(files)
}

func importImage(ctx context.Context, l *life) error {
	text, err := makeImage()
	if err != nil {
		return err
	}
	images, err := l.client.Import(ctx, bytes.NewReader(text))
	if err != nil || len(images) != 1 || images[0].Name != imageName {
		return fmt.Errorf("imported %+v, %w", images, err)
	}
	image, err := l.client.GetImage(ctx, imageName)
	if err != nil {
		return err
	}
	if err := image.Unpack(ctx, l.name()); err != nil {
		return err
	}
	unpacked, err := image.IsUnpacked(ctx, l.name())
	if err != nil || !unpacked {
		return fmt.Errorf("unpacked: %v, %v", unpacked, err)
	}
	return nil
}

// container runs a container whose process writes to its root.
func container(ctx context.Context, l *life) (err error) {
	image, err := l.client.GetImage(ctx, imageName)
	if err != nil {
		return err
	}
	container, err := l.client.NewContainer(ctx, "container",
		containerd.WithImage(image), containerd.WithSnapshotter(l.name()),
		containerd.WithNewSnapshot("container-root", image),
		containerd.WithNewSpec(oci.WithImageConfig(image), oci.WithProcessArgs("/busybox", "sh", "-c",
			"/busybox cat /message && echo written >/file && /busybox sync")))
	if err != nil {
		return err
	}
	output, status, err := runTask(ctx, container)
	if err != nil {
		return err
	}
	if status != 0 || output != "of the second layer\n" {
		return fmt.Errorf("the container ended with %d and wrote %q", status, output)
	}
	// The device outlives the container's process; it is kept.
	mounts, err := l.snapshotter().Mounts(ctx, "container-root")
	if err != nil {
		return err
	}
	l.kept["container-root"] = "written\n"
	return l.mounted(mounts, func(dir string) error {
		text, err := os.ReadFile(filepath.Join(dir, "file"))
		if err != nil || string(text) != "written\n" {
			return fmt.Errorf("the container's file has %q, %v", text, err)
		}
		return nil
	})
}

// runTask runs a container to its end and returns what it wrote and its exit status.
func runTask(ctx context.Context, container containerd.Container) (string, uint32, error) {
	var stdout, stderr bytes.Buffer
	task, err := container.NewTask(ctx, cio.NewCreator(
		cio.WithStreams(strings.NewReader(""), io.Writer(&stdout), &stderr)),
		containerd.WithNoPivotRoot)
	if err != nil {
		return "", 0, fmt.Errorf("the task: %w", err)
	}
	exited, err := task.Wait(ctx)
	if err != nil {
		return "", 0, err
	}
	if err := task.Start(ctx); err != nil {
		return "", 0, fmt.Errorf("the start of the task: %w", err)
	}
	select {
	case status := <-exited:
		if _, err := task.Delete(ctx); err != nil {
			return "", 0, fmt.Errorf("%w: %s", err, &stderr)
		}
		return stdout.String(), status.ExitCode(), nil
	case <-time.After(5 * time.Minute):
		return "", 0, fmt.Errorf("the container does not end: %s", &stderr)
	}
}
