// Calls with Go's net/http.
//
// Arguments: base URL, key, body of a call, body of a streamed call. Output: a line per call, with its name, status and
// body in Base64.
package main

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
)

var base, key = os.Args[1], os.Args[2]

// unsized hides how long a body is, so that it is sent in chunks.
type unsized struct{ io.Reader }

func newRequest(method, path, kind string, body io.Reader) *http.Request {
	request, err := http.NewRequest(method, base+path, body)
	if err != nil {
		panic(err)
	}
	request.Header.Set("X-Api-Key", key)
	request.Header.Set("Anthropic-Version", "2026-10-21")
	if body != nil {
		request.Header.Set("Content-Type", kind)
	}
	return request
}

func do(request *http.Request) (int, []byte) {
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		panic(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		panic(err)
	}
	return answer.StatusCode, body
}

func tell(name string, request *http.Request) {
	status, body := do(request)
	fmt.Printf("%s\t%d\t%s\n", name, status, base64.StdEncoding.EncodeToString(body))
}

func main() {
	json, form := "application/json", "multipart/form-data; boundary=x"
	upload := "--x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n" +
		strings.Repeat("y", 300_000) + "\r\n--x--\r\n"
	message := func() io.Reader { return strings.NewReader(os.Args[3]) }

	tell("message", newRequest("POST", "/v1/messages", json, message()))
	tell("models", newRequest("GET", "/v1/models", "", nil))
	tell("stream", newRequest("POST", "/v1/messages", json, strings.NewReader(os.Args[4])))
	tell("chunked", newRequest("POST", "/v1/messages", json, unsized{message()}))
	tell("missing", newRequest("GET", "/v1/models/none", "", nil))
	tell("upload", newRequest("POST", "/v1/files", form, unsized{strings.NewReader(upload)}))
	expecting := newRequest("POST", "/v1/messages", json, message())
	expecting.Header.Set("Expect", "100-continue")
	tell("expect", expecting)
	trailing := newRequest("POST", "/v1/messages", json, unsized{message()})
	trailing.Trailer = http.Header{"X-Checksum": {"1"}}
	tell("trailers", trailing)
	tell("head", newRequest("HEAD", "/v1/models", "", nil))

	var answers sync.WaitGroup
	statuses := make([]int, 8)
	for number := range statuses {
		answers.Add(1)
		go func() {
			defer answers.Done()
			statuses[number], _ = do(newRequest("GET", "/v1/models", "", nil))
		}()
	}
	answers.Wait()
	for _, status := range statuses {
		fmt.Printf("parallel\t%d\t\n", status)
	}
}
