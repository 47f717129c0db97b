#!/usr/bin/env bash
# goautoneg, by which kube-apiserver reads Accept, orders a wildcard and a media type by where they stand in the header,
# not by their weights, and takes q=0 for a low weight instead of a refusal.
#
# Seen with github.com/munnerz/goautoneg v0.0.0-20191010083416-a7dc8b61c822 (its newest), where JSON and YAML are offered:
#   application/yaml;q=0.1, */*;q=0.9   is answered with application/json
#   */*;q=0.9, application/yaml;q=0.1   is answered with application/yaml
#   application/json;q=0, */*           is answered with application/json
# A guess was RFC 9110 §12.5.1: the most specific range gives a media type its weight, the highest weight wins, 0 is never
# chosen, and the order of the ranges says nothing. So whoever answers in kube-apiserver's place cannot do by the RFC what
# it does, and a client that wants a Table, else whatever there is, has to write the Table first.

set -euo pipefail
command -v go >/dev/null || { echo "needs Go" >&2 && exit 2; }
work=$(mktemp -d)
trap 'chmod -R u+w "$work" && rm -rf "$work"' EXIT
cd "$work"
export GOFLAGS=-mod=mod GOPATH=$work/go
go mod init try 2>/dev/null
go get github.com/munnerz/goautoneg@v0.0.0-20191010083416-a7dc8b61c822 2>/dev/null
cat >try.go <<'GO'
package main

import (
	"fmt"

	"github.com/munnerz/goautoneg"
)

func main() {
	for _, accept := range []string{
		"application/yaml;q=0.1, */*;q=0.9",
		"*/*;q=0.9, application/yaml;q=0.1",
		"application/json;q=0, */*",
	} {
		answer := goautoneg.Negotiate(accept, []string{"application/json", "application/yaml"})
		fmt.Printf("%-35s is answered with %s\n", accept, answer)
	}
}
GO
go run try.go | tee seen
diff - seen <<'SEEN' && echo "as described"
application/yaml;q=0.1, */*;q=0.9   is answered with application/json
*/*;q=0.9, application/yaml;q=0.1   is answered with application/yaml
application/json;q=0, */*           is answered with application/json
SEEN
