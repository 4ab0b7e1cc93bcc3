// The command containerd-overlay makes an overlay with which `go build` makes containerd's
// devmapper snapshotter use this module's store. It prints the path of the overlay's JSON file; the
// directory to build in and the commands go to standard error.
//
//	go run ./cmd/containerd-overlay -containerd v2.4.2 -out /tmp/overlay
//	go run ./cmd/containerd-overlay -containerd ~/src/containerd -out /tmp/overlay
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"

	"github.com/pool-metadata/pool-metadata/go-binding/containerd"
)

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintf(os.Stderr, "containerd-overlay: %v\n", err)
		os.Exit(1)
	}
}

func run(arguments []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("containerd-overlay", flag.ContinueOnError)
	flags.SetOutput(stderr)
	source := flags.String("containerd", "",
		"containerd's `source`: a directory, or a version such as v2.4.2, v1.7 or latest")
	out := flags.String("out", "containerd-overlay",
		"the `directory` to write the overlay's files to, new or empty or of an earlier run; it has to "+
			"stay until the build is done")
	tests := flags.Bool("tests", false,
		"make the overlay for `go test` and `go vet` of the snapshotter's package: one of its tests "+
			"reads containerd's own store (not for a program that runs)")
	binding := flags.String("binding", "", "the `directory` or version of "+
		containerd.Module+" (default: the one that this command belongs to)")
	if err := flags.Parse(arguments); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("what is %q? Only flags are expected; see -help", flags.Arg(0))
	}
	if *binding == "" {
		found, err := findBinding()
		if err != nil {
			return err
		}
		*binding = found
	}
	overlay, err := containerd.Write(containerd.Config{
		Source: *source, Out: *out, Binding: *binding, Tests: *tests,
	})
	if err != nil {
		return err
	}
	fmt.Fprintln(stdout, overlay.JSON)
	explain(stderr, overlay, *tests)
	return nil
}

// explain prints the commands of the next step.
func explain(w io.Writer, overlay *containerd.Overlay, tests bool) {
	flag := "-overlay=" + overlay.JSON
	inBuild, inVariable := shellWord(flag), flag
	if strings.ContainsAny(flag, " \t") {
		inVariable = `"` + flag + `"` // GOFLAGS is a list with quotes of its own
	}
	if overlay.Vendored {
		inBuild, inVariable = "-mod=readonly "+inBuild, "-mod=readonly "+inVariable
	}
	change := "cd " + shellWord(overlay.Source)
	if tests {
		fmt.Fprintf(w, "%s in %s. Test its snapshotter with\n", overlay.Module, overlay.Source)
		fmt.Fprintf(w, "    %s && go test %s ./%s/...\n", change, inBuild, overlay.Package)
		fmt.Fprintf(w, "    %s && go vet %s ./%s/...\n", change, inBuild, overlay.Package)
	} else {
		link, version := versionOf(overlay)
		fmt.Fprintf(w, "%s in %s. Build it, for example, with\n", overlay.Module, overlay.Source)
		fmt.Fprintf(w, "    %s && go build %s%s -o /tmp/containerd ./cmd/containerd\n", change, inBuild,
			link)
		fmt.Fprintf(w, "or by containerd's own Makefile, there, with\n    GOFLAGS=%s make%s "+
			"bin/containerd\n", quoted(inVariable), version)
	}
	if overlay.Vendored {
		fmt.Fprintln(w, "-mod=readonly takes the modules from the module cache or proxy: "+
			"vendor does not have this one.")
	}
}

// versionOf returns the flag for the linker and the variables for make that give a containerd from
// the proxy, which has no git tree to find it in, its version.
func versionOf(overlay *containerd.Overlay) (link, variables string) {
	if overlay.Version == "" {
		return "", ""
	}
	set := func(name, value string) string {
		return "-X " + overlay.Module + "/version." + name + "=" + value
	}
	link = " -ldflags " + quoted(set("Version", overlay.Version)+" "+
		set("Revision", overlay.Revision))
	return link, " VERSION=" + overlay.Version + " REVISION=" + overlay.Revision
}

// shellWord quotes a text as one word of the shell.
func shellWord(text string) string {
	if strings.ContainsAny(text, " \t\n'\"\\$`&|;<>()*?[]#!") {
		return quoted(text)
	}
	return text
}

func quoted(text string) string {
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// findBinding returns where this command's module is: the checkout that it runs in, or else its
// version.
func findBinding() (string, error) {
	format := "{{if .Main}}{{.Dir}}{{end}}"
	dir, err := exec.Command("go", "list", "-m", "-f", format, containerd.Module).Output()
	if checkout := strings.TrimSpace(string(dir)); err == nil && checkout != "" {
		return checkout, nil
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Path == containerd.Module &&
		strings.HasPrefix(info.Main.Version, "v") {
		return info.Main.Version, nil
	}
	return "", fmt.Errorf("no checkout of %s here: name one with -binding", containerd.Module)
}
