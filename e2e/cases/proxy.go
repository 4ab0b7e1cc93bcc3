package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthapi "google.golang.org/grpc/health/grpc_health_v1"
)

// healthy waits until the proxy says that it serves.
func healthy(process *exec.Cmd) error {
	connection, err := grpc.NewClient("unix://"+proxyAddress,
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	reply, err := healthapi.NewHealthClient(connection).Check(ctx, &healthapi.HealthCheckRequest{
		Service: "containerd.services.snapshots.v1.Snapshots",
	}, grpc.WaitForReady(true))
	if err != nil {
		return fmt.Errorf("the proxy's health, process %d: %w", process.Process.Pid, err)
	}
	if reply.Status != healthapi.HealthCheckResponse_SERVING {
		return fmt.Errorf("the proxy is %v", reply.Status)
	}
	return nil
}

// checkMetrics wants the proxy's metrics to tell of the work so far.
func checkMetrics() error {
	client := http.Client{Timeout: time.Minute}
	reply, err := client.Get("http://" + metricsAt + "/metrics")
	if err != nil {
		return err
	}
	defer reply.Body.Close()
	text, err := io.ReadAll(reply.Body)
	if err != nil {
		return err
	}
	values := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if i := strings.LastIndexByte(line, ' '); i > 0 && line[0] != '#' {
			values[line[:i]] = strings.TrimSpace(line[i:])
		}
	}
	for _, name := range []string{
		`pool_metadata_store_devices`, `pool_metadata_store_commits_total`,
		`pool_metadata_store_commit_seconds_count`,
		`pool_metadata_operation_seconds_count{code="OK",method="Prepare"}`,
		`pool_metadata_pool_blocks_used{device="data",pool="pool"}`,
		`pool_metadata_pool_blocks{device="metadata",pool="pool"}`,
		`pool_metadata_pool_up{pool="pool"}`,
	} {
		if value := values[name]; value == "" || value == "0" {
			return fmt.Errorf("metrics: %s is %q in\n%s", name, value, text)
		}
	}
	return nil
}
