"""A client of sealed OHTTP that shares no line with the guest: RFC 9458, draft-ietf-ohai-chunked-ohttp-08, RFC 9292 and
RFC 9180 written from their texts over PyPI `cryptography` (OpenSSL) and the standard library.

    client.py HOST:PORT KEY_CONFIG_HEX

KEY_CONFIG_HEX is the key configuration out of a *verified* keyset. Prints one line of JSON for each exchange.
"""

import hashlib
import hmac
import http.client
import json
import os
import sys

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

XWING, X25519 = 0x647A, 0x0020
GATEWAY = "/.well-known/ohttp-gateway"


def raw(public):
    return public.public_bytes(Encoding.Raw, PublicFormat.Raw)


# --- RFC 9180

def extract(salt, ikm):
    return hmac.new(salt or bytes(32), ikm, hashlib.sha256).digest()


def expand(prk, info, length):
    out, block, n = b"", b"", 1
    while len(out) < length:
        block = hmac.new(prk, block + info + bytes([n]), hashlib.sha256).digest()
        out, n = out + block, n + 1
    return out[:length]


def labeled_extract(suite, salt, label, ikm):
    return extract(salt, b"HPKE-v1" + suite + label + ikm)


def labeled_expand(suite, prk, label, info, length):
    return expand(prk, length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info, length)


def encapsulate(kem, public):
    """Returns (shared secret, enc)."""
    ephemeral = x25519.X25519PrivateKey.generate()
    share = raw(ephemeral.public_key())
    if kem == X25519:
        dh = ephemeral.exchange(x25519.X25519PublicKey.from_public_bytes(public))
        suite = b"KEM" + kem.to_bytes(2, "big")
        prk = labeled_extract(suite, b"", b"eae_prk", dh)
        return labeled_expand(suite, prk, b"shared_secret", share + public, 32), share
    assert kem == XWING
    lattice, point = public[:1184], public[1184:]
    one, ciphertext = mlkem.MLKEM768PublicKey.from_public_bytes(lattice).encapsulate()
    if len(one) != 32:
        one, ciphertext = ciphertext, one
    dh = ephemeral.exchange(x25519.X25519PublicKey.from_public_bytes(point))
    secret = hashlib.sha3_256(one + dh + share + point + rb"\.//^" + b"\\").digest()
    return secret, ciphertext + share


class Context:
    def __init__(self, kem, aead, secret, info):
        self.suite = b"HPKE" + kem.to_bytes(2, "big") + b"\x00\x01" + aead.to_bytes(2, "big")
        self.key_len = {1: 16, 2: 32}[aead]
        psk = labeled_extract(self.suite, b"", b"psk_id_hash", b"")
        info = labeled_extract(self.suite, b"", b"info_hash", info)
        context = b"\x00" + psk + info
        prk = labeled_extract(self.suite, secret, b"secret", b"")
        self.aead = AESGCM(labeled_expand(self.suite, prk, b"key", context, self.key_len))
        self.nonce = labeled_expand(self.suite, prk, b"base_nonce", context, 12)
        self.exporter = labeled_expand(self.suite, prk, b"exp", context, 32)
        self.sequence = 0

    def seal(self, aad, plaintext):
        sealed = self.aead.encrypt(at(self.nonce, self.sequence), plaintext, aad)
        self.sequence += 1
        return sealed

    def export(self, label, length):
        return labeled_expand(self.suite, self.exporter, b"sec", label, length)


def at(nonce, counter):
    return (int.from_bytes(nonce, "big") ^ counter).to_bytes(12, "big")


def check_hpke():
    """What is written above, opened by the HPKE of `cryptography` itself."""
    curve = x25519.X25519PrivateKey.generate()
    lattice = mlkem.MLKEM768PrivateKey.generate()
    both = hpke.MLKEM768X25519PrivateKey(lattice, curve)
    keys = {
        X25519: (hpke.KEM.X25519, curve, raw(curve.public_key())),
        XWING: (hpke.KEM.MLKEM768_X25519, both, raw(lattice.public_key()) + raw(curve.public_key())),
    }
    for kem, (theirs, private, public) in keys.items():
        for number, aead in ((1, hpke.AEAD.AES_128_GCM), (2, hpke.AEAD.AES_256_GCM)):
            secret, enc = encapsulate(kem, public)
            sealed = enc + Context(kem, number, secret, b"info").seal(b"", b"plain")
            opened = hpke.Suite(theirs, hpke.KDF.HKDF_SHA256, aead).decrypt(sealed, private, b"info")
            assert opened == b"plain"


# --- RFC 9000 section 16, RFC 9292

def varint(n):
    for bits, mark in ((6, 0), (14, 1), (30, 2), (62, 3)):
        if n < 1 << bits:
            size = 1 << mark
            return (n | mark << (8 * size - 2)).to_bytes(size, "big")


def read_varint(data, pos):
    size = 1 << (data[pos] >> 6)
    if len(data) < pos + size:
        raise IndexError
    return int.from_bytes(data[pos : pos + size], "big") & (1 << (8 * size - 2)) - 1, pos + size


def text(value):
    return varint(len(value)) + value


def request_start(method, path, fields, known):
    control = b"".join(map(text, (method, b"https", b"guest.example", path)))
    lines = b"".join(text(k) + text(v) for k, v in fields)
    return (b"\x00" + control + text(lines)) if known else (b"\x02" + control + lines + b"\x00")


def read_response(data):
    """A whole binary HTTP answer of either kind: (status, fields, content)."""
    framing, pos = read_varint(data, 0)
    status, pos = read_varint(data, pos)
    assert framing in (1, 3)
    fields, content = {}, b""

    def take(pos):
        size, pos = read_varint(data, pos)
        assert pos + size <= len(data)
        return data[pos : pos + size], pos + size

    if framing == 1:
        section, pos = take(pos)
        end = pos
        pos -= len(section)
        while pos < end:
            name, pos = take(pos)
            fields[name], pos = take(pos)
        content, pos = take(pos)
    else:
        while True:
            name, pos = take(pos)
            if not name:
                break
            fields[name], pos = take(pos)
        while True:
            piece, pos = take(pos)
            if not piece:
                break
            content += piece
    return status, fields, content


# --- RFC 9458, draft-ietf-ohai-chunked-ohttp-08

class KeyConfig:
    def __init__(self, data):
        self.key_id, self.kem = data[0], int.from_bytes(data[1:3], "big")
        size = {XWING: 1216, X25519: 32}[self.kem]
        self.public, rest = data[3 : 3 + size], data[3 + size :]
        assert int.from_bytes(rest[:2], "big") == len(rest) - 2
        pairs = [rest[i : i + 4] for i in range(2, len(rest), 4)]
        self.aeads = [int.from_bytes(p[2:], "big") for p in pairs if p[:2] == b"\x00\x01"]


class Exchange:
    """One request and what opens its answer."""

    def __init__(self, config, aead, kind):
        self.header = bytes([config.key_id]) + b"".join(n.to_bytes(2, "big") for n in (config.kem, 1, aead))
        secret, self.enc = encapsulate(config.kem, config.public)
        self.kind = kind
        info = b"message/bhttp " + kind + b"request\x00" + self.header
        self.context = Context(config.kem, aead, secret, info)

    def answer_keys(self, nonce):
        size = max(12, self.context.key_len)
        secret = self.context.export(b"message/bhttp " + self.kind + b"response", size)
        prk = extract(self.enc + nonce, secret)
        return AESGCM(expand(prk, b"key", self.context.key_len)), expand(prk, b"nonce", 12)


def post(address, media_type, body):
    host, port = address.rsplit(":", 1)
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    connection.request("POST", GATEWAY, body=body, headers={"content-type": media_type}, encode_chunked=True)
    return connection.getresponse()


def chat(is_stream):
    return json.dumps(
        {
            "model": "tiny",
            "stream": is_stream,
            "messages": [{"role": "user", "content": "Capital of France?"}],
        }
    ).encode()


FIELDS = [(b"content-type", b"application/json"), (b"hanzo-owner", b"5a" * 32)]


def whole(address, config, aead):
    exchange = Exchange(config, aead, b"")
    question = chat(False)
    message = request_start(b"POST", b"/v1/chat/completions", FIELDS, True) + text(question) + b"\x00"
    sealed = exchange.header + exchange.enc + exchange.context.seal(b"", message)
    answer = post(address, "message/ohttp-req", sealed)
    body = answer.read()
    assert answer.status == 200, body
    assert answer.headers["content-type"] == "message/ohttp-res"
    size = max(12, exchange.context.key_len)
    key, nonce = exchange.answer_keys(body[:size])
    status, _, content = read_response(key.decrypt(nonce, body[size:], b""))
    again = post(address, "message/ohttp-req", sealed)
    problem = json.loads(again.read())
    return {
        "how": "whole",
        "status": status,
        "content": json.loads(content)["choices"][0]["message"]["content"],
        "replay": [again.status, problem["type"]],
    }


def in_parts(address, config, aead, cut):
    """Sends part by part, opens part by part; `cut` leaves out the end of the answer as a hostile host would."""
    exchange = Exchange(config, aead, b"chunked ")

    def parts():
        yield exchange.header + exchange.enc
        start = request_start(b"POST", b"/v1/chat/completions", FIELDS, False)
        question = chat(True)
        for piece in [start] + [text(question[i : i + 30]) for i in range(0, len(question), 30)]:
            yield text(exchange.context.seal(b"", piece))
        yield b"\x00" + exchange.context.seal(b"final", b"\x00\x00")

    answer = post(address, "message/ohttp-chunked-req", parts())
    assert answer.status == 200, answer.read()
    assert answer.headers["content-type"] == "message/ohttp-chunked-res"
    size = max(12, exchange.context.key_len)
    data, reads = b"", 0
    while piece := answer.read1(65536):
        data, reads = data + piece, reads + 1
    key, nonce = exchange.answer_keys(data[:size])
    if cut:
        data = data[: len(data) - cut]
    pos, counter, message, is_whole = size, 0, b"", False
    try:
        while pos < len(data):
            length, pos = read_varint(data, pos)
            sealed, aad = (data[pos:], b"final") if length == 0 else (data[pos : pos + length], b"")
            message += key.decrypt(at(nonce, counter), sealed, aad)
            pos, counter, is_whole = pos + len(sealed), counter + 1, length == 0
    except (InvalidTag, IndexError):
        is_whole = False
    if not is_whole:
        return {"how": "cut", "whole": False, "parts": counter}
    status, fields, content = read_response(message)
    frames = [f for f in content.decode().split("\n\n") if f.startswith("data: {")]
    deltas = [json.loads(f[6:])["choices"][0]["delta"].get("content", "") for f in frames]
    receipt = next(f for f in content.decode().split("\n\n") if f.startswith(": hanzo-receipt "))
    return {
        "how": "streamed",
        "status": status,
        "type": fields[b"content-type"].decode(),
        "content": "".join(deltas),
        "parts": counter,
        "reads": reads,
        "done": content.endswith(b"data: [DONE]\n\n"),
        "transport": json.loads(receipt[len(": hanzo-receipt ") :])["receipt"]["transport"],
    }


def main():
    check_hpke()
    address, config = sys.argv[1], KeyConfig(bytes.fromhex(sys.argv[2]))
    for aead in config.aeads:
        print(json.dumps(whole(address, config, aead)))
        print(json.dumps(in_parts(address, config, aead, 0)))
        for cut in (1, 17, 40):
            print(json.dumps(in_parts(address, config, aead, cut)))


if __name__ == "__main__":
    main()
