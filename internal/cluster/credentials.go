package cluster

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
)

// credentials is a transport that asks a credential plugin first. Plugins take no
// notice of a request's context, and of their errors not all name them.
type credentials struct{ transport http.RoundTripper }

// gettingCredentials begins the errors of client-go's own exec plugin.
const gettingCredentials = "getting credentials: "

// RoundTrip ends with the request's context.
func (c credentials) RoundTrip(r *http.Request) (*http.Response, error) {
	var connects atomic.Bool
	traced := r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{GetConn: func(string) { connects.Store(true) }}))
	var (
		response *http.Response
		err      error
		done     = make(chan struct{})
	)
	go func() {
		defer close(done)
		response, err = c.transport.RoundTrip(traced)
	}()
	select {
	case <-done:
	case <-r.Context().Done():
		if !connects.Load() {
			return nil, fmt.Errorf(gettingCredentials+"%w", context.Cause(r.Context()))
		}
		<-done // the connection ends with the context, too
	}
	if err != nil && !connects.Load() && !strings.HasPrefix(err.Error(), gettingCredentials) {
		err = fmt.Errorf(gettingCredentials+"%w", err)
	}
	return response, err
}
