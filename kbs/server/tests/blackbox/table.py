"""Every route, with every method, and with everything that can be wrong about a request to it."""

import json
import time

import requests

from client import *

RESOURCE = "/kbs/v0/resource/default/key/small"
HEADS = "/hanzo/v1/heads/default/key/small"
ADMIN = "/hanzo/v1/admin"
METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH"]
# Who no session, or none of an admin's tokens, names.
COOKIE, BEARER = "cookie", "bearer"

# path, methods, longest body + 1 byte over what is read, media type, what names the caller
ROUTES = [
    ("/kbs/v0/auth", ["POST"], 4 << 10, JSON, None),
    ("/kbs/v0/attest", ["POST"], 1 << 20, JSON, COOKIE),
    (RESOURCE, ["GET"], None, None, COOKIE),
    (RESOURCE, ["POST"], 1 << 16, BYTES, BEARER),
    (RESOURCE, ["DELETE"], None, None, BEARER),
    ("/kbs/v0/resource-policy", ["POST"], 1 << 20, JSON, BEARER),
    ("/kbs/v0/resource-policy", ["GET"], None, None, BEARER),
    ("/kbs/v0/reference-value", ["POST"], 1 << 20, JSON, BEARER),
    ("/kbs/v0/reference-value", ["GET"], None, None, BEARER),
    ("/kbs/v0/reference-value/svn", ["GET"], None, None, BEARER),
    ("/kbs/v0/attestation-policy", METHODS, 1 << 20, None, BEARER),
    ("/kbs/v0/attestation-policy/default_cpu", METHODS, 1 << 20, None, BEARER),
    (HEADS, ["POST"], 32 << 10, JSON, None),
    (ADMIN, ["POST"], 1 << 20, JSON, None),
    ("/hanzo/v1/log/tile/0/000", ["GET"], None, None, BEARER),
    ("/hanzo/v1/log/checkpoint", ["GET"], None, None, None),
    ("/kbs/v0/jwks", ["GET"], None, None, None),
    ("/.well-known/jwks.json", ["GET"], None, None, None),
    ("/healthz", ["GET"], None, None, None),
    ("/health", ["GET"], None, None, None),
    ("/metrics", ["GET"], None, None, None),
]


def send(method, path, data=None, headers=None, cookies=None, kbs=KBS):
    return requests.request(method, kbs + path, data=data, headers=headers, cookies=cookies)


def routes(named=None, media=None):
    for path, methods, size, takes, who in ROUTES:
        if (named is None or who == named) and (media is None or takes == media):
            for method in methods:
                yield method, path, size, takes


@case("table: every other method")
def _():
    known = {}
    for path, methods, *_ in ROUTES:
        known.setdefault(path, set()).update(methods)
    for path, methods in known.items():
        for method in set(METHODS) - methods:
            refused(send(method, path), 405, "kbs.method")
    for method in METHODS:
        refused(send(method, "/kbs/v0/none/x"), 404, "kbs.plugin.unknown")
        refused(send(method, "/kbs/v0/resource/a/b"), 404, "kbs.path.unknown")
        refused(send(method, "/nowhere"), 404, "kbs.path.unknown")


@case("table: nobody, and somebody whom nobody knows")
def _():
    body = lambda takes: b"{}" if takes else None
    for method, path, _, takes in routes(named=COOKIE):
        ask = lambda **how: refused(send(method, path, body(takes), **how), 401, "kbs.session.unknown")
        ask(headers=takes)
        for value in ["", "x", "A" * 100, "a" * 32]:
            ask(headers=takes, cookies={"kbs-session-id": value})
        # Two cookies, and a token in place of a cookie.
        ask(headers={**(takes or {}), "Cookie": "kbs-session-id=a; kbs-session-id=b"})
        ask(headers={**(takes or {}), **bearer()})
    for method, path, _, takes in routes(named=BEARER):
        ask = lambda code, headers: refused(
            send(method, path, body(takes), headers={**(takes or {}), **headers}), 401, code
        )
        ask("kbs.bearer.missing", {})
        ask("kbs.bearer.malformed", {"Authorization": "Bearer x.y.z"})
        ask("kbs.bearer.not_pinned", bearer(name="nobody"))
        ask("kbs.bearer.signature", bearer(seed=6))
        ask("kbs.bearer.role", bearer(role="tenant-admin"))
        ask("kbs.bearer.time", bearer(iat=int(time.time()) - 90, exp=int(time.time()) - 30))
        # Unknown algorithms, and the one that is none.
        for alg in ["none", "HS256", "RS256", "ES256", "ML-DSA-65", "EdDSA2"]:
            ask("kbs.bearer.algorithm", bearer(alg=alg))
        # A session is no admin.
        refused(send(method, path, body(takes), headers=takes, cookies=Session().attested().http.cookies), 401, "kbs.bearer.missing")


@case("table: other content types, none, and two")
def _():
    for takes in (JSON, BYTES):
        for method, path, *_ in routes(media=takes):
            other = BYTES if takes == JSON else JSON
            for headers in [
                {},
                other,
                {"Content-Type": "text/plain"},
                {"Content-Type": "application/x-www-form-urlencoded"},
                {"Content-Type": "application/jsonx"},
                {"Content-Type": ""},
            ]:
                reply = send(method, path, b"{}", headers={**headers, **bearer()})
                refused(reply, 415, "kbs.body.type")
                assert takes["Content-Type"] in reply.json()["detail"], reply.text
    # What the stock client's library may add changes nothing.
    s = Session()
    parameters = {"Content-Type": "application/json; charset=utf-8"}
    auth = json.dumps({"version": "0.4.0", "tee": "sample", "extra-params": ""})
    assert send("POST", "/kbs/v0/auth", auth, parameters).status_code == 200
    assert s.auth().status_code == 200


@case("table: oversized bodies, before anything else is looked at")
def _():
    for method, path, size, takes in routes():
        if size is None:
            # Nothing is read there: a body of any length is over.
            if path.startswith("/kbs/v0/resource/") or path.startswith("/kbs/v0/re"):
                if method == "GET":
                    refused(send(method, path, b"  "), 413, "kbs.body.too_large")
            continue
        for over in (2, 1 << 16):
            reply = send(method, path, b" " * (size + over), headers=takes)
            assert reply.status_code == 413, (method, path, reply.text)
            refused(reply, 413, "kbs.body.too_large")


@case("table: malformed JSON")
def _():
    tenant = "?tenant=default"
    cookies = lambda: Session().attested().http.cookies
    opened = Session()
    opened.auth()
    for path, headers, jar, code in [
        ("/kbs/v0/auth", {}, None, "kbs.body.malformed"),
        ("/kbs/v0/attest", {}, opened.http.cookies, "kbs.body.malformed"),
        ("/kbs/v0/resource-policy" + tenant, bearer(), None, "kbs.body.malformed"),
        ("/kbs/v0/reference-value" + tenant, bearer(), None, "kbs.body.malformed"),
        (HEADS, {}, cookies(), "kbs.head.message"),
        (ADMIN, {}, None, "kbs.admin.malformed"),
    ]:
        for data in [b"", b"{", b"[]", b"null", b"\xff\xfe", b"{}x", b'{"a":1,"a":2}', b"[" * 3000, b'{"a":1e999}']:
            refused(send("POST", path, data, {**JSON, **headers}, jar), 400, code)


@case("table: unknown algorithms")
def _():
    ec, rsa, akp = p256().public, Rsa().public, Akp().public
    for change, code in [
        ({**ec, "alg": "ECDH-ES+A128KW"}, "kbs.wrap.jwk"),
        ({**ec, "crv": "P-384"}, "kbs.wrap.jwk"),
        ({**ec, "crv": "secp256k1"}, "kbs.wrap.jwk"),
        ({**rsa, "alg": "RSA-OAEP"}, "kbs.wrap.jwk"),
        ({**rsa, "alg": "RSA-OAEP-512"}, "kbs.wrap.jwk"),
        ({**akp, "alg": "ML-KEM-512+A128KW"}, "kbs.wrap.jwk"),
        ({**akp, "alg": "ML-KEM-768"}, "kbs.wrap.jwk"),
        ({"kty": "OKP", "crv": "X25519", "alg": "ECDH-ES+A256KW", "x": b64u(bytes(32))}, "kbs.wrap.jwk"),
        ({}, "kbs.wrap.jwk"),
        ([], "kbs.wrap.jwk"),
        ("x", "kbs.wrap.jwk"),
    ]:
        s = Session()
        s.auth()
        s.key.public = change
        refused(s.attest(), 400, code)
    s = Session()
    s.auth()
    text = 'version = "0.1.0"\nalgorithm = "sm3"\n[data]\n'
    refused(s.attest(init={"format": "toml", "body": text}), 400, "kbs.init_data")


@case("table: used and spent challenges")
def _():
    s = Session()
    s.auth()
    body = s.body()
    assert s.attest(body).status_code == 200
    for again in (body, s.body()):
        refused(s.attest(again), 401, "kbs.session.used")
    # Another session's answer, and another session's cookie, are nobody's.
    other = Session()
    other.auth()
    refused(other.attest(body), 403, "kbs.session.nonce")
    refused(other.get("default/key/small"), 401, "kbs.session.not_attested")
    # The challenge counts for the TEE that it was given out for.
    snp = Session(tee="snp")
    snp.auth()
    snp.tee = "sample"
    refused(snp.attest(), 400, "kbs.session.tee")


@case("table: challenges past their end")
def _():
    late = Session(kbs=SHORT)
    late.auth()
    body = late.body()
    attested = Session(kbs=SHORT).attested()
    cookie = dict(attested.http.cookies)
    time.sleep(2.2)
    path = "/kbs/v0/resource/default/key/small"
    refused(late.http.post(SHORT + "/kbs/v0/attest", json=body), 401, "kbs.session.unknown")
    refused(send("GET", path, cookies=cookie, kbs=SHORT), 401, "kbs.session.unknown")
    token = {"Authorization": "Bearer " + attested.token}
    refused(send("GET", path, headers=token, kbs=SHORT), 401, "kbs.session.unknown")
    reply = send("POST", HEADS, b"{}", JSON, cookie, kbs=SHORT)
    assert reply.status_code in (400, 401), reply.text
    # A new challenge, and the same guest is served.
    fresh = Session(kbs=SHORT).attested()
    refused(fresh.get("default/key/none"), 404, "kbs.key.unknown")


@case("table: what needs nobody")
def _():
    for path in ["/kbs/v0/jwks", "/.well-known/jwks.json"]:
        assert send("GET", path).json()["keys"][0]["kty"] == "EC"
    assert send("GET", "/healthz").text == "ok\n"
    assert send("GET", "/health").status_code == 200
    assert send("GET", "/metrics").headers["content-type"].startswith("application/openmetrics-text")
