package nodelabel

import (
	"encoding/json"
	"io"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// statusCodec is all that the REST client needs to decode here: the Status that
// the server answers with when it refuses. Everything else is read and written
// as plain JSON. The codecs of apimachinery would bring YAML, protobuf and CBOR
// along, on every node.
type statusCodec struct{}

var _ runtime.NegotiatedSerializer = statusCodec{}

func (s statusCodec) SupportedMediaTypes() []runtime.SerializerInfo {
	return []runtime.SerializerInfo{{
		MediaType: runtime.ContentTypeJSON, MediaTypeType: "application", MediaTypeSubType: "json",
		EncodesAsText: true, Serializer: s,
	}}
}

func (s statusCodec) EncoderForVersion(runtime.Encoder, runtime.GroupVersioner) runtime.Encoder {
	return s
}

func (s statusCodec) DecoderToVersion(runtime.Decoder, runtime.GroupVersioner) runtime.Decoder {
	return s
}

func (statusCodec) Identifier() runtime.Identifier { return "status" }

func (statusCodec) Encode(obj runtime.Object, w io.Writer) error {
	return json.NewEncoder(w).Encode(obj)
}

// Decode yields a *metav1.Status, or an error for anything else.
func (statusCodec) Decode(data []byte, _ *schema.GroupVersionKind, _ runtime.Object) (runtime.Object, *schema.GroupVersionKind, error) {
	var status metav1.Status
	if err := json.Unmarshal(data, &status); err != nil {
		return nil, nil, err
	}
	kind := status.GroupVersionKind()
	if kind.Kind != "Status" {
		return nil, &kind, runtime.NewNotRegisteredErrForKind("sctp-agent", kind)
	}
	return &status, &kind, nil
}
