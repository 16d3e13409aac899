/* SPDX-License-Identifier: MIT */
#include "tls/link.h"

#include "core/hooks.h"
#include "tls/failure.h"
#include "tls/kernel.h"
#include "tls/output.h"
#include "transport/edge/source.h"
#include "transport/reach/connector.h"
#include "transport/stream/stream.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/uio.h>

enum {
    RECORD = SSL3_RT_MAX_PLAIN_LENGTH,
    /* What is encrypted at a time: as much as a copied file's buffer has, so that it goes in one
     * packet. It is what a cancel has to let leave. */
    MOST = FERRY__BUFFER_BYTES,
    OVERHEAD = 64,       /* of a record, at most: header, nonce, padding, tag */
    OWED_MOST = 1 << 18, /* answers that a peer has asked for, and does not read */
    IDLE_MOST = 64,      /* records and messages without bytes for a reader, one after the other */
    READS = 64, /* records a call of receive: so its owner's other streams have their turn */
};

uint64_t ferry__tls_records_per_key = UINT64_C(1) << 23;

typedef enum outcome { UNDER_WAY, SECURED, FAILED } outcome;

typedef struct tls_link {
    /* Any thread. The failure is of the handshake, or later of reading; or NULL. */
    atomic_uint outcome; /* of the handshake */
    _Atomic(const ferry_tls_failure *) failure;

    /* Any thread, once outcome says so. What these point to stays until the stream is freed. */
    const char *version, *cipher;
    char *name; /* that was asked for; or NULL */
    char *protocol, *subject;
    unsigned char *certificate; /* allocated by OpenSSL */
    size_t certificate_length;
    bool is_resumed;
    bool was_taken_over; /* the kernel encrypts */

    /* The owner's. */
    SSL *ssl; /* NULL: it is closed */
    ferry__link *link;
    ferry__tls_terms terms;
    ferry__output output;
    unsigned char *held; /* bytes that wait for more: a record's at most; NULL: there are none */
    size_t held_count;
    size_t begun;       /* bytes that it has taken and not answered */
    uint64_t records;   /* since the key was new */
    size_t record_most; /* bytes of a record of this side's: the client may ask for less */
    unsigned idle;      /* what has come since the last bytes for a reader, as IDLE_MOST has it */
    int broken;         /* why nothing leaves any more; 0: it does */
    int read_error;     /* why nothing comes any more; 0: it does */
    bool has_ended;     /* the peer has said its end */
    bool has_said_end;  /* close_notify is in the output, or has left */
    bool is_shut;       /* nothing leaves behind that: what OpenSSL still says is dropped */
    ferry__tls_signs signs;       /* of the call that is under way */
    ferry__kernel_secret *secret; /* what the kernel is to encrypt with, until it does; or NULL */
    ferry__kernel kernel;
    unsigned char *received; /* of the peer's handshake, before there was TLS; or NULL */
    size_t received_begin, received_end;
} tls_link;

static tls_link *self_of(const ferry__link *link)
{
    return link->state;
}

/* ---- what OpenSSL calls ---------------------------------------------------------------------- */

/* Gives what was received before there was TLS. @return how many bytes. */
static size_t take_received(tls_link *self, void *data, size_t size)
{
    size_t there = self->received_end - self->received_begin, count = there < size ? there : size;
    memcpy(data, self->received + self->received_begin, count);
    self->received_begin += count;
    if (self->received_begin == self->received_end) {
        ferry__release(self->received);
        self->received = NULL;
    }
    return count;
}

static int bio_read(BIO *bio, char *data, int size)
{
    tls_link *self = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (self->received != NULL)
        return (int)take_received(self, data, (size_t)size);
    ssize_t count = ferry__link_plain.receive(self->link, data, (size_t)size);
    if (count >= 0) {
        self->signs.is_cut = count == 0;
        return (int)count;
    }
    if (count == -EAGAIN)
        BIO_set_retry_read(bio);
    else
        self->signs.io_error = (int)count;
    return -1;
}

/* Never lets OpenSSL wait: what it makes is kept, up to a bound that no decent peer sees. */
static int bio_write(BIO *bio, const char *data, int size)
{
    tls_link *self = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (self->is_shut || self->kernel.encrypts)
        return size;
    self->signs.is_over_bound = ferry__output_count(&self->output) > OWED_MOST;
    if (self->signs.is_over_bound)
        return -1;
    self->signs.io_error = ferry__output_add(&self->output, data, (size_t)size);
    return self->signs.io_error == 0 ? size : -1;
}

static long bio_control(BIO *bio, int command, long number, void *pointer)
{
    (void)bio, (void)number, (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *method;

bool ferry__tls_link_begin(void)
{
    if (method != NULL)
        return true;
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "ferry link");
    if (method == NULL || !BIO_meth_set_read(method, bio_read) ||
        !BIO_meth_set_write(method, bio_write) || !BIO_meth_set_ctrl(method, bio_control)) {
        BIO_meth_free(method);
        method = NULL;
    }
    return method != NULL;
}

static BIO *make_bio(tls_link *self)
{
    BIO *bio = BIO_new(method);
    if (bio != NULL) {
        BIO_set_data(bio, self);
        BIO_set_init(bio, 1);
    }
    return bio;
}

static void heed_event(const SSL *ssl, int where, int what)
{
    tls_link *self = SSL_get_app_data(ssl);
    if ((where & SSL_CB_READ_ALERT) == SSL_CB_READ_ALERT && what >> 8 == SSL3_AL_FATAL)
        self->signs.alert = what & 0xff;
}

/* OpenSSL's: a session that may be resumed. @return whether its reference was taken. */
static int heed_session(SSL *ssl, SSL_SESSION *session)
{
    tls_link *self = SSL_get_app_data(ssl);
    if (self->terms.keep_session == NULL || self->name == NULL)
        return 0;
    self->terms.keep_session(self->terms.context, ssl, self->name, session);
    return 1;
}

/* OpenSSL's: secrets, as a line. */
static void log_key(const SSL *ssl, const char *line)
{
    const tls_link *self = SSL_get_app_data(ssl);
    if (self->secret != NULL)
        ferry__kernel_note_secret(self->secret, ssl, line);
    if (self->terms.key_log_fd < 0)
        return;
    const struct iovec pieces[] = {{(void *)(uintptr_t)line, strlen(line)}, {"\n", 1}};
    (void)!writev(self->terms.key_log_fd, pieces, 2);
}

/* Whether the peer has sent too much without bytes. It stays so: no bytes are looked for then. */
static bool is_flooded(const tls_link *self)
{
    return self->idle > IDLE_MOST;
}

/* Whether a message is a KeyUpdate that asks for one in return (RFC 8446, 4.6.3). */
static bool asks_for_key(const unsigned char *message, size_t size)
{
    enum { HEADER = 4 };
    return size == HEADER + 1 && message[0] == SSL3_MT_KEY_UPDATE &&
           message[HEADER] == SSL_KEY_UPDATE_REQUESTED;
}

/* It has made a record, or has put a message into one. */
static void heed_sent(tls_link *self, int type, const void *message, size_t size)
{
    if (self->secret != NULL && type == SSL3_RT_HEADER)
        ferry__kernel_note_record(self->secret);
    if (self->kernel.encrypts && type == SSL3_RT_ALERT && size == 2 && !self->is_shut)
        ferry__kernel_say(&self->kernel, message);
}

/*
 * A record, or a message, has come. A peer may send tickets and new keys without end, and OpenSSL
 * would go on over them in one call. It is told that the peer has ended: then it looks at nothing
 * more.
 */
static void heed_came(tls_link *self, int type, const void *message, size_t size, SSL *ssl)
{
    bool is_counted = type == SSL3_RT_HEADER || type == SSL3_RT_HANDSHAKE;
    if (!is_counted || atomic_load(&self->outcome) != SECURED)
        return;
    if (self->kernel.encrypts && type == SSL3_RT_HANDSHAKE)
        self->kernel.is_refused |= asks_for_key(message, size);
    self->idle++;
    if (is_flooded(self))
        SSL_set_shutdown(ssl, SSL_get_shutdown(ssl) | SSL_RECEIVED_SHUTDOWN);
}

/* OpenSSL's. */
static void heed_message(int is_sent, int version, int type, const void *message, size_t size,
                         SSL *ssl, void *arg)
{
    (void)version, (void)arg;
    tls_link *self = SSL_get_app_data(ssl);
    if (is_sent)
        heed_sent(self, type, message, size);
    else
        heed_came(self, type, message, size, ssl);
}

void ferry__tls_link_watch(SSL_CTX *context, bool tells_keys)
{
    if (tells_keys)
        SSL_CTX_set_keylog_callback(context, log_key);
    SSL_CTX_set_info_callback(context, heed_event);
    SSL_CTX_sess_set_new_cb(context, heed_session);
}

void ferry__tls_link_refuse_name(SSL *ssl)
{
    ((tls_link *)SSL_get_app_data(ssl))->signs.is_unknown = true;
}

/* ---- failures -------------------------------------------------------------------------------- */

/* Before a call of OpenSSL's that may fail. */
static void begin_call(tls_link *self)
{
    if (ERR_peek_error() != 0) /* clearing what is clear takes long */
        ERR_clear_error();
    self->signs = (ferry__tls_signs){.alert = FERRY__NO_ALERT};
}

/* Where there is no memory to say more. */
static const ferry_tls_failure unexplained = {
    .reason = FERRY_TLS_LOCAL, .alert = FERRY__NO_ALERT, .text = "no memory to say why"};

/* Lets others see the failure: the first one. Few connections have one, and it is large. */
static int show_failure(tls_link *self, const ferry_tls_failure *failure, int error)
{
    if (atomic_load(&self->failure) != NULL)
        return error;
    ferry_tls_failure *copy = ferry__allocate(sizeof *copy);
    if (copy != NULL)
        *copy = *failure;
    atomic_store(&self->failure, copy != NULL ? copy : &unexplained);
    return error;
}

static void free_failure(tls_link *self)
{
    const ferry_tls_failure *failure = atomic_load(&self->failure);
    if (failure != &unexplained)
        ferry__release((void *)(uintptr_t)failure);
}

/* A call of OpenSSL's has failed. @return its errno. */
static int note_failure(tls_link *self)
{
    ferry_tls_failure failure;
    self->signs.is_flood = is_flooded(self);
    int error = ferry__tls_explain(self->ssl, &self->signs, &failure);
    return show_failure(self, &failure, error);
}

/* ---- what is owed ---------------------------------------------------------------------------- */

/* Nothing leaves any more, for that reason. @return error. */
static int note_broken(tls_link *self, int error)
{
    if (error < 0 && error != -EAGAIN)
        self->broken = error;
    return error;
}

/* What send_output is where the kernel encrypts. Behind the end FIN follows: the kernel is to keep
 * nothing then. */
static int speak(tls_link *self)
{
    ferry__link *link = self->link;
    int error = self->broken;
    if (error == 0)
        error = atomic_load(&link->cut) ? -ECANCELED : ferry__kernel_speak(&self->kernel, link);
    link->has_no_edge =
        error == 0 && self->has_said_end && ferry__kernel_kept(&self->kernel, link) > 0;
    return link->has_no_edge ? -EAGAIN : note_broken(self, error);
}

/* @return 0: it has all left; or a negative errno. */
static int send_output(tls_link *self, bool more)
{
    int error = self->broken;
    if (error == 0)
        error = ferry__output_send(&self->output, self->link, more);
    return note_broken(self, error);
}

/* ---- sending, where the kernel encrypts ------------------------------------------------------ */

/* @return 0; or why nothing may be encrypted any more. */
static int check_key(tls_link *self)
{
    const ferry__kernel *kernel = &self->kernel;
    if (kernel->is_over && self->broken == 0)
        return self->read_error != 0 ? self->read_error : -EPROTO;
    bool is_worn = kernel->is_refused || kernel->most_records >= ferry__tls_records_per_key;
    return self->broken == 0 && is_worn ? note_broken(self, -EKEYEXPIRED) : self->broken;
}

/* Notes what a call of the plain link's has come to. @return the same. */
static ssize_t note_sent(tls_link *self, ssize_t result, bool is_open)
{
    if (result > 0)
        ferry__kernel_note_sent(&self->kernel, (size_t)result, is_open);
    else if (result < 0)
        (void)note_broken(self, (int)result);
    self->link->is_holding_back |= self->kernel.open > 0;
    return result;
}

/* @param size of all pieces */
static ssize_t write_by_kernel(tls_link *self, const struct iovec pieces[], int count, size_t size,
                               bool more)
{
    int error = check_key(self);
    if (error != 0)
        return error;
    ssize_t sent = ferry__link_plain.write(self->link, pieces, count, more);
    return note_sent(self, sent, more || (sent > 0 && (size_t)sent < size));
}

/* Straight from the page cache. An error may be the file's. */
static ssize_t send_file(ferry__link *link, int source_fd, int64_t *offset, size_t length)
{
    tls_link *self = self_of(link);
    if (!self->kernel.encrypts)
        return ferry__link_cannot_sendfile(link, source_fd, offset, length);
    int error = check_key(self);
    if (error != 0)
        return error;
    ssize_t sent = ferry__link_plain.sendfile(link, source_fd, offset, length);
    return sent > 0 ? note_sent(self, sent, link->is_holding_back) : sent;
}

/* ---- sending --------------------------------------------------------------------------------- */

/* Has a key that has served for long replaced. @return 0, or a negative errno. */
static int renew_key(tls_link *self)
{
    if (self->records < ferry__tls_records_per_key)
        return 0;
    if (SSL_version(self->ssl) == TLS1_3_VERSION) {
        if (SSL_key_update(self->ssl, SSL_KEY_UPDATE_NOT_REQUESTED) != 1)
            return -EPROTO;
        self->records = 0;
        return 0;
    }
    bool is_worn = self->records >= 2 * ferry__tls_records_per_key;
    return is_worn ? -EKEYEXPIRED : 0;
}

/* How many records bytes make. */
static size_t count_records(const tls_link *self, size_t size)
{
    return (size + self->record_most - 1) / self->record_most;
}

/* Makes room for so many bytes in records, and for a word of OpenSSL's. @return 0, -ENOMEM. */
static int reserve(tls_link *self, size_t size)
{
    return ferry__output_reserve(&self->output, size + (count_records(self, size) + 1) * OVERHEAD);
}

/* Makes a record of bytes, or several, if the peer wants smaller ones. @return 0, or a negative
 * errno. */
static int encrypt(tls_link *self, const void *data, size_t size)
{
    /* Room first: a record that is lost on its way to the output is lost for good. */
    int error = reserve(self, size);
    if (error == 0)
        error = renew_key(self);
    if (error != 0)
        return error;
    begin_call(self);
    size_t done;
    if (SSL_write_ex(self->ssl, data, size, &done) != 1) {
        self->broken = note_failure(self);
        return self->broken;
    }
    self->records += count_records(self, size);
    return 0;
}

/* Makes a record of what is held back. */
static int encrypt_held(tls_link *self)
{
    int error = self->held_count > 0 ? encrypt(self, self->held, self->held_count) : 0;
    if (error != 0) { /* these bytes may count as sent by now */
        self->broken = error;
        return error;
    }
    ferry__release(self->held);
    self->held = NULL;
    self->held_count = 0;
    return 0;
}

/*
 * Half a message of the peer's may have come: a new key, say, in two records. OpenSSL says nothing
 * before it has the rest. This asks for that, and for no more: what is behind it stays in the
 * socket, whose readers know of it. @return 0: OpenSSL can speak; -EAGAIN: the link is held up; or
 * another negative errno: it will not speak again, but what it has said may leave.
 */
static int hear_out(ferry__link *link)
{
    tls_link *self = self_of(link);
    link->is_held_up = false;
    if (self->broken != 0 || atomic_load(&self->outcome) != SECURED || !SSL_in_init(self->ssl))
        return self->broken;
    if (self->read_error != 0)
        return self->read_error;
    begin_call(self);
    SSL_set_read_ahead(self->ssl, 0);
    int result = SSL_do_handshake(self->ssl);
    SSL_set_read_ahead(self->ssl, 1);
    if (result == 1)
        return 0;
    link->is_held_up = SSL_get_error(self->ssl, result) == SSL_ERROR_WANT_READ;
    if (!link->is_held_up)
        self->read_error = note_failure(self);
    return link->is_held_up ? -EAGAIN : self->read_error;
}

/* Sends what the link owes, and notes whether it still does. @param more as write has it. */
static int pay_before(ferry__link *link, bool more)
{
    tls_link *self = self_of(link);
    int error = 0;
    if (link->is_held_up && (error = hear_out(link)) == 0)
        error = encrypt_held(self);
    if (error == 0)
        error = self->kernel.encrypts ? speak(self) : send_output(self, more);
    link->owes = error != 0; /* whoever asks for it hears the error, and drops it */
    return error;
}

static int pay(ferry__link *link)
{
    return pay_before(link, false);
}

/* Adds bytes to those that are held back, as many as a record has room for. @return how many, or
 * -ENOMEM. */
static ssize_t hold(tls_link *self, const void *data, size_t size)
{
    if (self->held == NULL && (self->held = ferry__allocate(RECORD)) == NULL)
        return -ENOMEM;
    size_t room = RECORD - self->held_count, count = size < room ? size : room;
    memcpy(self->held + self->held_count, data, count);
    self->held_count += count;
    return (ssize_t)count;
}

/*
 * Takes bytes: whole records of them as they lie there, unless some are held back before; the rest
 * is held back. @param is_last nothing follows: the rest is a record, too. @return how many; or a
 * negative errno, if it took none.
 */
static ssize_t take(tls_link *self, const unsigned char *data, size_t size, bool is_last)
{
    size_t taken = 0;
    int error = 0;
    while (taken < size && error == 0) {
        size_t left = size - taken, count = left < RECORD ? left : RECORD;
        if (self->held_count == 0 && (left >= RECORD || is_last)) {
            error = encrypt(self, data + taken, count);
            taken += error == 0 ? count : 0;
        } else {
            ssize_t held = hold(self, data + taken, left);
            error = held < 0 ? (int)held : 0;
            taken += held > 0 ? (size_t)held : 0;
            if (self->held_count == RECORD)
                error = encrypt_held(self);
        }
    }
    return taken > 0 ? (ssize_t)taken : error;
}

/* Takes bytes of pieces, MOST of them at most. @return as take. */
static ssize_t take_pieces(tls_link *self, const struct iovec pieces[], int count, bool more)
{
    size_t taken = 0;
    for (int i = 0; i < count && taken < MOST; i++) {
        size_t room = MOST - taken, size = pieces[i].iov_len < room ? pieces[i].iov_len : room;
        bool is_last = !more && (i == count - 1 || size == room);
        ssize_t result = take(self, pieces[i].iov_base, size, is_last);
        if (result < 0)
            return taken > 0 ? (ssize_t)taken : result;
        taken += (size_t)result;
        if ((size_t)result < size)
            break;
    }
    return (ssize_t)taken;
}

/* Whether bytes may wait for those that follow, and share a record with them. */
static bool may_be_held(const tls_link *self, size_t size, bool more)
{
    return more && !self->link->ends_behind && self->held_count + size < RECORD;
}

/* Takes bytes, size in all, and makes records of them: they are begun. @return 0, or a negative
 * errno. */
static int begin_write(tls_link *self, const struct iovec pieces[], int count, size_t size)
{
    /* At once, so that the output does not grow with each record. */
    int error = reserve(self, self->held_count + (size < MOST ? size : MOST));
    ssize_t taken = error == 0 ? take_pieces(self, pieces, count, false) : error;
    if (taken < 0)
        return (int)taken;
    self->begun = (size_t)taken;
    (void)encrypt_held(self);
    return self->broken;
}

static ssize_t write_pieces(ferry__link *link, const struct iovec pieces[], int count, bool more)
{
    tls_link *self = self_of(link);
    size_t size = ferry__bytes_of(pieces, count);
    if (self->kernel.encrypts)
        return write_by_kernel(self, pieces, count, size, more);
    if (self->broken != 0)
        return self->broken;
    if (self->begun == 0 && may_be_held(self, size, more)) {
        ssize_t taken = take_pieces(self, pieces, count, true);
        link->is_holding_back = self->held_count > 0;
        return taken;
    }
    int error = self->begun == 0 ? hear_out(link) : 0;
    if (error == 0 && self->begun == 0)
        error = begin_write(self, pieces, count, size);
    if (error == 0)
        error = send_output(self, more);
    link->is_holding_back |= self->held_count > 0;
    if (error != 0)
        return error;
    size_t answered = self->begun < size ? self->begun : size;
    self->begun -= answered;
    return (ssize_t)answered;
}

static void push(ferry__link *link)
{
    tls_link *self = self_of(link);
    if (self->kernel.encrypts)
        ferry__kernel_end_record(&self->kernel);
    else if (hear_out(link) == 0)
        (void)encrypt_held(self);
    ferry__link_plain.push(link);
    link->is_holding_back = false;
    (void)pay(link);
}

static size_t owe(ferry__link *link)
{
    tls_link *self = self_of(link);
    size_t begun = self->broken == 0 ? self->begun : 0; /* else they will not leave */
    self->begun = 0;
    link->owes |= ferry__output_count(&self->output) > 0 && self->broken == 0;
    return begun;
}

/* ---- receiving ------------------------------------------------------------------------------- */

/* A read has given nothing. @return as a type's receive. */
static ssize_t conclude_read(tls_link *self, int result)
{
    if (is_flooded(self)) { /* also if a write has found that out */
        self->read_error = note_failure(self);
        return self->read_error;
    }
    switch (SSL_get_error(self->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        return -EAGAIN;
    case SSL_ERROR_ZERO_RETURN:
        self->has_ended = true;
        return 0;
    default:
        break;
    }
    if (self->signs.io_error != 0 && !self->signs.is_over_bound) {
        ERR_clear_error();
        bool is_final = self->signs.io_error != -ENOMEM && self->signs.io_error != -ECANCELED;
        if (is_final) /* the kernel tells it once */
            self->read_error = self->signs.io_error;
        return self->signs.io_error;
    }
    self->read_error = note_failure(self);
    return self->read_error;
}

/* Why nothing is to be read: 1: something is. */
static ssize_t find_end(const tls_link *self)
{
    if (atomic_load(&self->outcome) != SECURED)
        return self->read_error != 0 ? self->read_error : -EAGAIN;
    if (self->has_ended)
        return 0;
    return self->read_error != 0 ? self->read_error : 1;
}

/* What OpenSSL has said while it read leaves: answers to new keys, alerts. And what it could not
 * say before it had read. */
static void heed_words(ferry__link *link)
{
    tls_link *self = self_of(link);
    bool has_words = ferry__output_count(&self->output) > 0 ||
                     (ferry__kernel_has_words(&self->kernel) && !self->is_shut);
    if (self->begun == 0 && has_words)
        link->owes = true;
    if (link->is_held_up && !SSL_in_init(self->ssl))
        link->owes = true;
}

static ssize_t receive(ferry__link *link, void *data, size_t size)
{
    tls_link *self = self_of(link);
    ssize_t result = find_end(self);
    size_t got = 0;
    for (int i = 0; i < READS && result > 0 && got < size; i++) {
        size_t count = 0;
        begin_call(self);
        int done = SSL_read_ex(self->ssl, (char *)data + got, size - got, &count);
        got += count;
        result = done == 1 ? SSL_has_pending(self->ssl) : conclude_read(self, done);
        if (count > 0)
            self->idle = 0;
    }
    if (result != 0 || self->has_ended) /* something more is to be told */
        link->is_dry = false;
    heed_words(link);
    return got > 0 ? (ssize_t)got : result;
}

static ssize_t peek(ferry__link *link)
{
    tls_link *self = self_of(link);
    ssize_t result = find_end(self);
    if (result <= 0)
        return result;
    char byte;
    size_t count;
    begin_call(self);
    int done = SSL_peek_ex(self->ssl, &byte, 1, &count);
    result = done == 1 ? 1 : conclude_read(self, done);
    heed_words(link);
    return result;
}

/* ---- the handshake --------------------------------------------------------------------------- */

static char *copy_text(const void *text, size_t length)
{
    char *copy = ferry__allocate(length + 1);
    if (copy == NULL)
        return NULL;
    memcpy(copy, text, length);
    copy[length] = '\0';
    return copy;
}

/* @return 0, -ENOMEM. */
static int describe_certificate(tls_link *self, X509 *certificate)
{
    BIO *text = BIO_new(BIO_s_mem());
    char *words = NULL;
    long length = 0;
    if (text != NULL && X509_NAME_print_ex(text, X509_get_subject_name(certificate), 0,
                                           XN_FLAG_ONELINE & ~ASN1_STRFLGS_ESC_MSB) >= 0)
        length = BIO_get_mem_data(text, &words);
    self->subject = words != NULL ? copy_text(words, (size_t)length) : NULL;
    BIO_free(text);
    int size = i2d_X509(certificate, &self->certificate);
    if (self->subject == NULL || size < 0)
        return -ENOMEM;
    self->certificate_length = (size_t)size;
    return 0;
}

/* @return 0, -ENOMEM. */
static int describe_protocol(tls_link *self)
{
    const unsigned char *protocol;
    unsigned length;
    SSL_get0_alpn_selected(self->ssl, &protocol, &length);
    if (length == 0)
        return 0;
    self->protocol = copy_text(protocol, length);
    return self->protocol != NULL ? 0 : -ENOMEM;
}

/* How many bytes a record may have: what the client has asked for (RFC 6066, 4). */
static size_t find_record_most(const SSL *ssl)
{
    uint8_t asked = SSL_SESSION_get_max_fragment_length(SSL_get_session(ssl));
    bool is_asked =
        asked >= TLSEXT_max_fragment_length_512 && asked <= TLSEXT_max_fragment_length_4096;
    return is_asked ? (size_t)256 << asked : RECORD;
}

/* A server's client may have asked for a name. @return 0, -ENOMEM. */
static int describe_name(tls_link *self)
{
    const char *asked = SSL_get_servername(self->ssl, TLSEXT_NAMETYPE_host_name);
    if (self->name != NULL || asked == NULL || !SSL_is_server(self->ssl))
        return 0;
    self->name = copy_text(asked, strlen(asked));
    return self->name != NULL ? 0 : -ENOMEM;
}

/* Notes what was agreed on. @return 0, -ENOMEM. */
static int describe(tls_link *self)
{
    self->version = SSL_get_version(self->ssl);
    self->cipher = SSL_get_cipher_name(self->ssl);
    self->is_resumed = SSL_session_reused(self->ssl) == 1;
    self->was_taken_over = self->kernel.encrypts;
    int error = describe_protocol(self);
    if (error == 0)
        error = describe_name(self);
    X509 *certificate = SSL_get0_peer_certificate(self->ssl);
    return error == 0 && certificate != NULL ? describe_certificate(self, certificate) : error;
}

/* The handshake has failed, in the way that failure says. @return error. */
static int fail(tls_link *self, const ferry_tls_failure *failure, int error)
{
    ferry__link *link = self->link;
    const ferry__tls_terms *terms = &self->terms;
    if (failure->reason == FERRY_TLS_NOT_TLS && terms->answer_to_http != NULL) {
        ferry__output_clear(&self->output); /* an alert, that nobody there understands */
        (void)ferry__output_add(&self->output, terms->answer_to_http, terms->answer_to_http_length);
    }
    self->read_error = error;
    (void)show_failure(self, failure, error);
    atomic_store(&self->outcome, FAILED);
    if (terms->on_failure != NULL && error != -ECANCELED) /* that was this side's wish */
        terms->on_failure(FERRY__STREAM_OF(link, link), failure, terms->on_failure_arg);
    (void)pay(link);
    return error;
}

static int fail_as_said(tls_link *self)
{
    ferry_tls_failure failure;
    int error = ferry__tls_explain(self->ssl, &self->signs, &failure);
    return fail(self, &failure, error);
}

static int fail_here(tls_link *self, ferry_tls_reason reason, int error, const char *text)
{
    ferry_tls_failure failure;
    (void)ferry__tls_fail(&failure, reason, error, text);
    return fail(self, &failure, error);
}

/* Has the kernel encrypt, if that was asked for, and it can. What OpenSSL has made has to have left:
 * else, with a peer that takes not even a handshake, it does not. */
static void ask_kernel(tls_link *self)
{
    if (self->secret != NULL && ferry__output_count(&self->output) == 0)
        (void)ferry__kernel_take_over(&self->kernel, self->secret, self->ssl, self->link);
    ferry__kernel_secret_forget(&self->secret);
}

static int succeed(tls_link *self)
{
    ask_kernel(self);
    int error = describe(self);
    if (error != 0)
        return fail_here(self, FERRY_TLS_LOCAL, error, "no memory");
    self->record_most = find_record_most(self->ssl);
    atomic_store(&self->outcome, SECURED);
    return 0;
}

/* @return as shake_hands. */
static int take_step(tls_link *self)
{
    begin_call(self);
    int result = SSL_do_handshake(self->ssl);
    int state = SSL_get_error(self->ssl, result);
    int sent = pay(self->link);
    if (result == 1)
        return succeed(self);
    if (state != SSL_ERROR_WANT_READ)
        return fail_as_said(self);
    return sent == 0 || sent == -EAGAIN ? -EAGAIN
                                        : fail_here(self, FERRY_TLS_LOCAL, sent, "sending failed");
}

static int shake_hands(ferry__link *link, int given_up)
{
    tls_link *self = self_of(link);
    if (atomic_load(&self->outcome) != UNDER_WAY)
        return given_up;
    if (given_up == 0)
        return take_step(self);
    bool is_late = given_up == -ETIMEDOUT;
    return fail_here(self, is_late ? FERRY_TLS_LATE : FERRY_TLS_LOCAL, given_up,
                     is_late ? "the handshake took too long" : "it was called off");
}

/* ---- ending ---------------------------------------------------------------------------------- */

/* Puts the end into the output, behind all else. */
static void say_end(tls_link *self)
{
    if (self->has_said_end || self->broken != 0 || atomic_load(&self->outcome) != SECURED)
        return;
    if (encrypt_held(self) != 0)
        return;
    enum { ALERT = 2 };
    self->broken = reserve(self, ALERT);
    if (self->broken != 0)
        return;
    self->has_said_end = true;
    begin_call(self);
    if (SSL_shutdown(self->ssl) < 0)
        self->broken = note_failure(self);
}

static int shut_down(ferry__link *link)
{
    tls_link *self = self_of(link);
    int error = hear_out(link);
    if (error == 0)
        say_end(self);
    if (error != -EAGAIN) {                        /* an alert leaves also if no end can be said */
        int unpaid = pay_before(link, error == 0); /* the FIN goes in its packet */
        error = error != 0 && unpaid != -EAGAIN ? error : unpaid;
    } else if (link->is_holding_back) { /* the end has to wait: what was to go with it does not */
        ferry__link_plain.push(link);
    }
    link->is_holding_back = false;
    link->owes = error == -EAGAIN;
    if (error != 0)
        return error;
    self->is_shut = true;
    return ferry__link_plain.shut_down(link);
}

static int64_t count_own(const ferry__link *link)
{
    const tls_link *self = self_of(link);
    if (self->kernel.encrypts)
        return ferry__kernel_kept(&self->kernel, link);
    return (int64_t)(self->held_count + ferry__output_count(&self->output));
}

static int64_t unsent(const ferry__link *link)
{
    int64_t bytes = ferry__link_plain.unsent(link);
    return bytes >= 0 ? bytes + count_own(link) : bytes;
}

static int64_t unacked(const ferry__link *link)
{
    int64_t bytes = ferry__link_plain.unacked(link);
    return bytes >= 0 ? bytes + count_own(link) : bytes;
}

/* Lets go of all that only a connection needs. */
static void let_go(tls_link *self)
{
    if (self->ssl != NULL) /* it was no fault of the session's, which may be resumed */
        SSL_set_shutdown(self->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(self->ssl);
    self->ssl = NULL;
    ferry__kernel_secret_forget(&self->secret);
    ferry__output_clear(&self->output);
    ferry__release(self->held);
    ferry__release(self->received);
    self->held = self->received = NULL;
    self->held_count = 0;
}

/* What has come and was not read, tickets at least: the kernel would answer it with a reset, which
 * takes the last bytes from the peer. */
static void read_away(ferry__link *link)
{
    enum { TIMES = 16 }; /* a peer that sends without end is not waited for */
    char scrap[16 * 1024];
    for (int i = 0; i < TIMES && ferry__link_plain.receive(link, scrap, sizeof scrap) > 0; i++)
        continue;
}

static void let_go_in_order(ferry__link *link)
{
    tls_link *self = self_of(link);
    if (hear_out(link) == 0)
        say_end(self);
    if (self->kernel.encrypts && self->broken == 0)
        (void)ferry__kernel_speak(&self->kernel, link);
    link->has_no_edge = self->kernel.encrypts && ferry__kernel_kept(&self->kernel, link) > 0;
    if (ferry__output_count(&self->output) > 0)
        (void)ferry__link_send_last(link, self->output.data + self->output.begin,
                                    ferry__output_count(&self->output));
    read_away(link);
}

static void close_link(ferry__link *link, ferry__ending ending)
{
    if (ending == FERRY__LET_GO)
        let_go_in_order(link);
    else if (atomic_load(&self_of(link)->outcome) == FAILED)
        read_away(link); /* the alert is to get there */
    let_go(self_of(link));
}

static void forget(ferry__link *link)
{
    tls_link *self = self_of(link);
    let_go(self);
    self->terms.give_back(self->terms.context);
    ferry__release(self->name);
    ferry__release(self->protocol);
    ferry__release(self->subject);
    OPENSSL_free(self->certificate);
    free_failure(self);
    ferry__release(self);
}

static const ferry__link_type tls = {
    .shake_hands = shake_hands,
    .write = write_pieces,
    .sendfile = send_file,
    .splice = ferry__link_cannot_splice,
    .push = push,
    .owe = owe,
    .flush = pay,
    .receive = receive,
    .peek = peek,
    .receive_to_pipe = ferry__link_cannot_splice,
    .share = ferry__link_cannot_share,
    .shut_down = shut_down,
    .unsent = unsent,
    .unacked = unacked,
    .close = close_link,
    .forget = forget,
};

/* ---- beginning ------------------------------------------------------------------------------- */

/* Copies what the terms only lend. @return 0, -ENOMEM. */
static int copy_terms(tls_link *self)
{
    const ferry__tls_terms *terms = &self->terms;
    if (terms->name != NULL && (self->name = copy_text(terms->name, strlen(terms->name))) == NULL)
        return -ENOMEM;
    if (terms->received_length == 0)
        return 0;
    self->received = (unsigned char *)copy_text(terms->received, terms->received_length);
    self->received_end = terms->received_length;
    return self->received != NULL ? 0 : -ENOMEM;
}

int ferry__tls_link_put_on(ferry__link *link, const ferry__tls_terms *terms)
{
    tls_link *self = ferry__allocate_zeroed(sizeof *self);
    BIO *bio = self != NULL ? make_bio(self) : NULL;
    if (bio == NULL) {
        ferry__release(self);
        return -ENOMEM;
    }
    self->link = link;
    self->terms = *terms;
    self->record_most = RECORD;
    self->signs.alert = FERRY__NO_ALERT;
    if (copy_terms(self) != 0 || SSL_set_app_data(terms->ssl, self) != 1) {
        BIO_free(bio);
        ferry__release(self->received);
        ferry__release(self->name);
        ferry__release(self);
        return -ENOMEM;
    }
    self->ssl = terms->ssl;
    SSL_set_bio(self->ssl, bio, bio);
    SSL_set_msg_callback(self->ssl, heed_message);
    self->secret = terms->secret;
    bool is_secured = SSL_is_init_finished(self->ssl);
    if (is_secured)
        ask_kernel(self);
    atomic_init(&self->outcome, is_secured ? SECURED : UNDER_WAY);
    link->type = &tls;
    link->state = self;
    return 0;
}

/* ---- what a program asks --------------------------------------------------------------------- */

/* NULL: its bytes are not encrypted. */
static tls_link *find(const ferry_stream *stream)
{
    return stream->link.type == &tls ? self_of(&stream->link) : NULL;
}

int ferry_tls_get_info(ferry_stream *stream, ferry_tls_info *ret_info)
{
    if (stream == NULL || ret_info == NULL)
        return -EINVAL;
    tls_link *self = find(stream);
    if (self == NULL)
        return -ENODATA;
    outcome now = atomic_load(&self->outcome);
    if (now != SECURED)
        return now == FAILED ? -EPROTO : -EAGAIN;
    *ret_info = (ferry_tls_info){.version = self->version,
                                 .cipher = self->cipher,
                                 .protocol = self->protocol,
                                 .name = self->name,
                                 .subject = self->subject,
                                 .certificate = self->certificate,
                                 .certificate_length = self->certificate_length,
                                 .is_resumed = self->is_resumed,
                                 .kernel_encrypts = self->was_taken_over};
    return 0;
}

int ferry_tls_get_failure(ferry_stream *stream, ferry_tls_failure *ret_failure)
{
    if (stream == NULL || ret_failure == NULL)
        return -EINVAL;
    tls_link *self = find(stream);
    const ferry_tls_failure *failure = self != NULL ? atomic_load(&self->failure) : NULL;
    if (failure == NULL)
        return -ENODATA;
    *ret_failure = *failure;
    return 0;
}

int ferry_tls_get_connect_failure(ferry_promise *promise, ferry_tls_failure *ret_failure)
{
    if (ret_failure == NULL)
        return -EINVAL;
    ferry_stream *stream;
    int error = ferry__connect_get_failed(promise, &stream);
    return error == 0 ? ferry_tls_get_failure(stream, ret_failure) : error;
}
