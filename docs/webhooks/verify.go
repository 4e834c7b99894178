// Verify webhooks of FlowNurture. One file to copy (under your package's name, without main), nothing to install.
//
//	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20)) // the bytes as they came, before they are parsed
//	eventID, err := Verify(r.Header.Get("X-FlowNurture-Signature"), body, []string{"whsec_…"}, 5*time.Minute, time.Now())
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"strconv"
	"strings"
	"time"
)

// Answer them with 400, and do nothing of what the body says.
var (
	ErrUnsigned = errors.New("unsigned")
	ErrMismatch = errors.New("mismatch")
	ErrStale    = errors.New("stale")
	ErrFuture   = errors.New("future")
)

// Verify gives the id of the event, if the body was signed with one of your secrets at most a tolerance ago.
func Verify(header string, body []byte, secrets []string, tolerance time.Duration, now time.Time) (string, error) {
	var at, id string
	var signatures []string
	for _, field := range strings.Split(header, ",") {
		switch name, value, _ := strings.Cut(field, "="); name {
		case "t":
			at = value
		case "id":
			id = value
		case "v1":
			signatures = append(signatures, value)
		}
	}
	seconds, err := strconv.ParseUint(at, 10, 40)
	if err != nil || id == "" || len(signatures) == 0 {
		return "", ErrUnsigned
	}

	same, err := anySignature(signatures, id+"."+at+".", body, secrets)
	if err != nil {
		return "", err
	}
	if !same {
		return "", ErrMismatch
	}

	age := now.Sub(time.Unix(int64(seconds), 0))
	if age > tolerance {
		return "", ErrStale
	}
	if age < -tolerance {
		return "", ErrFuture
	}
	return id, nil
}

func anySignature(signatures []string, prefix string, body []byte, secrets []string) (bool, error) {
	for _, secret := range secrets {
		encoded, found := strings.CutPrefix(secret, "whsec_")
		key, err := base64.StdEncoding.DecodeString(encoded)
		// Whoever knows that it is empty could sign with an empty key.
		if !found || err != nil || len(key) == 0 {
			return false, errors.New("a secret is whsec_ and base64")
		}
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(prefix))
		mac.Write(body)
		mine := []byte(hex.EncodeToString(mac.Sum(nil)))
		for _, theirs := range signatures {
			if hmac.Equal(mine, []byte(theirs)) {
				return true, nil
			}
		}
	}
	return false, nil
}

// go run verify.go vectors.json
func main() {
	var file struct {
		Vectors []struct {
			Name    string
			Secrets []string
			Now     int64
			Headers map[string]string
			Body    string
		}
	}
	written, err := os.ReadFile(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	if err := json.Unmarshal(written, &file); err != nil {
		log.Fatal(err)
	}
	for _, vector := range file.Vectors {
		header, now := vector.Headers["X-FlowNurture-Signature"], time.Unix(vector.Now, 0)
		outcome := "verified"
		if _, err := Verify(header, []byte(vector.Body), vector.Secrets, 5*time.Minute, now); err != nil {
			outcome = err.Error()
		}
		fmt.Printf("%s: %s\n", vector.Name, outcome)
	}
}
