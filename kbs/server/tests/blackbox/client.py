"""A client of the CoCo key broker protocol (RCAR 0.4.0), written from the protocol's description alone.

It shares no code with the broker: requests over `requests`, keys and ciphers from `cryptography`, JWE from `jwcrypto`. It
gets evidence from a helper that answers one JSON line per question, and says what failed by raising.

usage: python3 blackbox KBS_URL EVIDENCE_HOST:PORT SHORT_LIVED_KBS_URL
"""

import base64
import hashlib
import json
import socket
import sys
import time

import requests
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap
from jwcrypto import jwe, jwk

import mlkem768

# The last one is a broker whose challenges live for one second.
KBS, HELPER, SHORT = sys.argv[1:4]
JSON = {"Content-Type": "application/json"}
BYTES = {"Content-Type": "application/octet-stream"}
PREFIX = "https://github.com/confidential-containers/kbs/errors/"
DONE = []


def b64u(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64u(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def jcs(value):
    # No numbers and no text beyond ASCII here, so this is RFC 8785.
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def helper(question):
    host, port = HELPER.rsplit(":", 1)
    with socket.create_connection((host, int(port))) as s:
        s.sendall(json.dumps(question).encode() + b"\n")
        return json.loads(s.makefile().readline())


def case(name):
    def keep(f):
        DONE.append((name, f))
        return f

    return keep


def refused(reply, status, code):
    """An error has RCAR's body, whatever it is."""
    got = (reply.status_code, reply.text)
    assert reply.status_code == status, got
    assert reply.headers["content-type"] == "application/json", reply.headers
    body = reply.json()
    assert body["type"].startswith(PREFIX) and isinstance(body["detail"], str), got
    assert body["code"] == code, got


class Ec:
    def __init__(self, curve, crv, size):
        self.key = ec.generate_private_key(curve)
        n = self.key.public_key().public_numbers()
        self.public = {
            "kty": "EC",
            "crv": crv,
            "alg": "ECDH-ES+A256KW",
            "x": b64u(n.x.to_bytes(size, "big")),
            "y": b64u(n.y.to_bytes(size, "big")),
        }

    def open(self, reply):
        pem = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        token = jwe.JWE(algs=["ECDH-ES+A256KW", "A256GCM"])
        token.deserialize(reply.text, key=jwk.JWK.from_pem(pem))
        header = json.loads(unb64u(reply.json()["protected"]))
        assert list(header) == ["alg", "enc", "epk"] and list(header["epk"]) == ["crv", "kty", "x", "y"], header
        return token.payload


class Rsa:
    def __init__(self, bits=2048):
        self.key = rsa.generate_private_key(65537, bits)
        n = self.key.public_key().public_numbers()
        self.public = {
            "kty": "RSA",
            "alg": "RSA-OAEP-256",
            "n": b64u(n.n.to_bytes(bits // 8, "big")),
            "e": b64u(n.e.to_bytes(3, "big")),
        }

    def open(self, reply):
        # By hand, to have one decryption that no JOSE library did.
        body = reply.json()
        assert sorted(body) == ["ciphertext", "encrypted_key", "iv", "protected", "tag"], sorted(body)
        assert unb64u(body["protected"]) == b'{"alg":"RSA-OAEP-256","enc":"A256GCM"}'
        oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
        cek = self.key.decrypt(unb64u(body["encrypted_key"]), oaep)
        sealed = unb64u(body["ciphertext"]) + unb64u(body["tag"])
        return AESGCM(cek).decrypt(unb64u(body["iv"]), sealed, body["protected"].encode())


class Akp:
    """ML-KEM-768: key, decapsulation and KMAC256 are this suite's own."""

    def __init__(self):
        public, self.key = mlkem768.key_gen()
        self.public = {"kty": "AKP", "alg": "ML-KEM-768+A192KW", "pub": b64u(public)}

    def open(self, reply):
        body = reply.json()
        header = json.loads(unb64u(body["protected"]))
        assert list(header) == ["alg", "enc", "ek"] and header["alg"] == "ML-KEM-768+A192KW", header
        wrapped = unb64u(body["encrypted_key"])
        assert len(wrapped) == 40, len(wrapped)
        cek = mlkem768.open_cek(self.key, unb64u(header["ek"]), wrapped, aes_key_unwrap)
        sealed = unb64u(body["ciphertext"]) + unb64u(body["tag"])
        return AESGCM(cek).decrypt(unb64u(body["iv"]), sealed, body["protected"].encode())


def p256():
    return Ec(ec.SECP256R1(), "P-256", 32)


class Session:
    """One exchange. Each step can be spoilt by its caller."""

    def __init__(self, tee="sample", key=None, kbs=KBS):
        self.http, self.kbs = requests.Session(), kbs
        self.tee, self.key, self.nonce, self.token = tee, key or p256(), None, None

    def auth(self, **other):
        extra = {"supported-hash-algorithms": ["sha256", "sha384", "sha512", "sm3"]}
        body = {"version": "0.4.0", "tee": self.tee, "extra-params": extra, **other}
        reply = self.http.post(self.kbs + "/kbs/v0/auth", json=body)
        if reply.status_code == 200:
            self.nonce = reply.json()["nonce"]
            assert reply.json()["extra-params"] == "" and len(base64.b64decode(self.nonce)) == 32
            assert "kbs-session-id" in self.http.cookies
        return reply

    def body(self, additional=None, init=None):
        runtime = {"nonce": self.nonce, "tee-pubkey": self.key.public}
        device = hashlib.sha384(jcs(runtime)).digest()
        text = additional(device) if additional else ""
        digest = hashlib.sha384(jcs({**runtime, "additional-evidence": text})).digest()
        if self.tee == "sample":
            primary = {"svn": "1", "report_data": base64.b64encode(digest).decode()}
        else:
            primary = helper({"tee": self.tee, "report_data": (digest + bytes(16)).hex()})
        return {
            "init-data": init,
            "runtime-data": runtime,
            "tee-evidence": {"primary_evidence": primary, "additional_evidence": text},
        }

    def attest(self, body=None, **how):
        reply = self.http.post(self.kbs + "/kbs/v0/attest", json=body or self.body(**how))
        if reply.status_code == 200:
            self.token = reply.json()["token"]
        return reply

    def attested(self, **how):
        reply = self.auth()
        assert reply.status_code == 200, reply.text
        reply = self.attest(**how)
        assert reply.status_code == 200, reply.text
        return self

    def get(self, path):
        return self.http.get(self.kbs + "/kbs/v0/resource/" + path)


def bearer(name="operator", seed=5, role="operator", alg="EdDSA", **claims):
    key = ed25519.Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
    now = int(time.time())
    claims = {"role": role, "iat": now, "exp": now + 60, **claims}
    claims = {k: v for k, v in claims.items() if v is not None}
    signed = b64u(json.dumps({"alg": alg, "typ": "JWT", "kid": name}).encode())
    signed += "." + b64u(json.dumps(claims).encode())
    return {"Authorization": "Bearer " + signed + "." + b64u(key.sign(signed.encode()))}


def admin(method, path, token=None, data=None, media=None):
    headers = dict(bearer() if token is None else token)
    headers.update(media or (BYTES if path.startswith("resource/") else JSON))
    return requests.request(method, KBS + "/kbs/v0/" + path, headers=headers, data=data)
