/* SPDX-License-Identifier: MIT */
/*
 * Kernel TLS: the kernel encrypts what is sent. Once the handshake is over it gets the key. From
 * then on the plain link sends plaintext, memory as well as ranges of files, and the kernel makes
 * records of it. Receiving stays with OpenSSL, which does not know of it: what it would send is
 * dropped, and said in its stead (speak).
 *
 *   the key     is derived from the traffic secret (RFC 8446, 7.3), which OpenSSL tells as it does
 *               for a key log. With it goes the number of the records that OpenSSL has made.
 *   a record    has 16 KiB at most. It ends with the call, unless that has MSG_MORE, or sendfile(2)
 *               came to less than was asked for: then it is open, and waits for what follows. Only a
 *               record of another call, or an empty one of the same type, ends it.
 *   what keeps  TCP may be full while the kernel has taken a record: it hands on the rest later, by
 *               a worker thread. shutdown(2) does not wait for that: FIN would overtake it. Nothing
 *               tells of it, but TCP's own count: it has got all if that has grown by the bytes, and
 *               by what each record has beside them.
 *   its end     there is no way to change the key. It wears out, and is refused before.
 */
#ifndef FERRY_TLS_KERNEL_H
#define FERRY_TLS_KERNEL_H

#include "transport/edge/link.h"

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is to become the kernel's key. */
typedef struct ferry__kernel_secret {
    unsigned char bytes[EVP_MAX_MD_SIZE];
    size_t length;    /* 0: not known yet */
    uint64_t records; /* that OpenSSL has made with it */
} ferry__kernel_secret;

/* Zeroed, the kernel encrypts nothing. */
typedef struct ferry__kernel {
    bool encrypts;
    bool is_refused;        /* its key is not to be used any more: the peer has asked for that */
    bool ends_record;       /* the open record is to be ended */
    bool has_alert;         /* that is to be said */
    bool is_over;           /* that is fatal: nothing may follow it */
    unsigned char alert[2]; /* its level, and its number */
    size_t open;            /* bytes of the open record */
    uint64_t bytes;         /* that it has taken */
    uint64_t least_records; /* made of them, as far as is known */
    uint64_t most_records;
    uint64_t tcp_began_at; /* what TCP had got before */
} ferry__kernel;

/* NULL: no memory. Both ends of its life: it is wiped. */
ferry__kernel_secret *ferry__kernel_secret_make(void);
void ferry__kernel_secret_forget(ferry__kernel_secret **secret);

/* OpenSSL tells a secret, as a line of a key log. It is kept if it is what this side sends with. */
void ferry__kernel_note_secret(ferry__kernel_secret *secret, const SSL *ssl, const char *line);

/* OpenSSL has made a record. */
void ferry__kernel_note_record(ferry__kernel_secret *secret);

/*
 * The owner, all of these. Has the kernel encrypt what link sends from now on. All that OpenSSL has
 * made has left. @return whether it does: TLS 1.3 with AES-GCM over TCP, and a kernel that knows it.
 * Else nothing has changed.
 */
bool ferry__kernel_take_over(ferry__kernel *self, const ferry__kernel_secret *secret,
                             const SSL *ssl, ferry__link *link);

/* It has taken so many bytes. @param is_open the last record of them waits for more. */
void ferry__kernel_note_sent(ferry__kernel *self, size_t count, bool is_open);

/* The open record is to end; an alert is to be said: speak does it. Two alerts at once do not
 * occur; the first one counts. */
void ferry__kernel_end_record(ferry__kernel *self);
void ferry__kernel_say(ferry__kernel *self, const unsigned char alert[2]);

/* Does so. @return 0; -EAGAIN: there is no room yet; or another negative errno. */
int ferry__kernel_speak(ferry__kernel *self, ferry__link *link);

/* Whether speak has something to do. */
static inline bool ferry__kernel_has_words(const ferry__kernel *self)
{
    return self->ends_record || self->has_alert;
}

/* Counts encrypted bytes that the kernel keeps, and that TCP has not got yet. 0 also if the
 * connection is over: nobody gets them. */
int64_t ferry__kernel_kept(const ferry__kernel *self, const ferry__link *link);

#endif
