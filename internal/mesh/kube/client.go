// Package kube has the mesh's requests to the API server: the list of peers,
// tokens and their reviews, and Events.
//
// It is a few requests of HTTP and JSON, as internal/nodewriter's are: client-go
// and the types of the API would make the program twice as large.
package kube

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/kubeconn"
)

const (
	// requestTimeout bounds a request whose caller has no shorter one.
	requestTimeout = 30 * time.Second
	// answerMost bounds an answer: a page of the list has some hundred kB.
	answerMost = 8 << 20
)

// Identity is who this program is in the cluster.
type Identity struct {
	Node, Namespace, Account, Pod, UID string
}

// Client speaks to the API server in one identity.
type Client struct {
	*kubeconn.Conn
	Identity
}

// call sends a request, with a body if in is not nil, and decodes the answer
// into out if that is not nil.
func (c *Client) call(ctx context.Context, method, path string, query url.Values, accept string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	u := c.Server.JoinPath(path)
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Accept", accept)
	if in != nil {
		req.Header.Set("Content-Type", asJSON)
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer := io.LimitReader(resp.Body, answerMost)
	if resp.StatusCode >= 300 {
		text, _ := io.ReadAll(io.LimitReader(answer, 4<<10))
		var status struct{ Message string }
		if json.Unmarshal(text, &status) != nil || status.Message == "" {
			status.Message = strings.TrimSpace(string(text))
		}
		return fmt.Errorf("%s: %s", resp.Status, status.Message)
	}
	if out == nil {
		return nil
	}
	return json.NewDecoder(answer).Decode(out)
}

const asJSON = "application/json"
