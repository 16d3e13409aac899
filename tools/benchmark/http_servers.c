/* SPDX-License-Identifier: MIT */
#include "http_servers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- the servers ----------------------------------------------------------------------------- */

static const char nginx_config[] =
    "@root user root root;\n"
    "daemon off;\n"
    "worker_processes @workers;\n"
    "pid nginx.pid;\n"
    "events { worker_connections 8192; }\n"
    "http {\n"
    "    @unlogged access_log off;\n"
    "    @logged access_log @directory/access.log combined buffer=64k flush=1s;\n"
    "    autoindex on;\n"
    "    sendfile on;\n"
    "    tcp_nopush on;\n"
    "    keepalive_requests 1000000000;\n"
    "    keepalive_timeout 1h;\n"
    "    open_file_cache max=64 inactive=1h;\n"
    "    open_file_cache_valid 1h;\n"
    "    client_body_temp_path body;\n"
    "    proxy_temp_path proxy;\n"
    "    fastcgi_temp_path fastcgi;\n"
    "    uwsgi_temp_path uwsgi;\n"
    "    scgi_temp_path scgi;\n"
    "    @secure ssl_protocols TLSv1.2 TLSv1.3;\n" /* as Debian's configuration has it */
    "    @secure ssl_certificate @directory/cert.pem;\n"
    "    @secure ssl_certificate_key @directory/key.pem;\n"
    "    server { listen 127.0.0.1:@port backlog=4096@reuseport@ssl;\n"
    "             listen unix:@directory/socket backlog=4096; root @directory/files; }\n"
    "}\n";

/* It keeps what it knows of a file, and small ones open, for a second or two: "simple". A
 * site may have more files than it may open. */
static const char lighttpd_config[] = "@unlogged server.modules = (\"mod_dirlisting\")\n"
                                      "@logged server.modules = (\"mod_dirlisting\", "
                                      "\"mod_accesslog\")\n"
                                      "@secure server.modules += (\"mod_openssl\")\n"
                                      "@secure ssl.engine = \"enable\"\n"
                                      "@secure ssl.pemfile = \"@directory/cert.pem\"\n"
                                      "@secure ssl.privkey = \"@directory/key.pem\"\n"
                                      "@logged accesslog.filename = \"@directory/access.log\"\n"
                                      "dir-listing.activate = \"enable\"\n"
                                      "server.document-root = \"@directory/files\"\n"
                                      "server.bind = \"127.0.0.1\"\n"
                                      "server.port = @port\n"
                                      "server.max-worker = @workers\n"
                                      "server.max-connections = 8192\n"
                                      "@small server.max-fds = 16384\n"
                                      "@large server.max-fds = 131072\n"
                                      "server.listen-backlog = 4096\n"
                                      "server.max-keep-alive-requests = 1000000000\n"
                                      "server.max-keep-alive-idle = 3600\n"
                                      "server.network-backend = \"sendfile\"\n"
                                      "$SERVER[\"socket\"] == \"@directory/socket\" { }\n"
                                      "@small server.stat-cache-engine = \"simple\"\n"
                                      "@large server.stat-cache-engine = \"disable\"\n"
                                      "mimetype.assign = (\"\" => \"application/octet-stream\")\n";

/* It decides by itself how to send, and keeps a file open from one turn of its loop to the end. */
static const char h2o_config[] =
    "@root user: root\n"
    "num-threads: @workers\n"
    "max-connections: 8192\n"
    "http1-request-timeout: 3600\n"
    "@plain listen: {host: 127.0.0.1, port: @port}\n"
    "@secure listen: {host: 127.0.0.1, port: @port, ssl: {certificate-file: "
    "\"@directory/cert.pem\", "
    "key-file: \"@directory/key.pem\"}}\n"
    "listen: {type: unix, port: @directory/socket}\n"
    "@logged access-log: @directory/access.log\n"
    "hosts: {default: {paths: {/: {file.dir: \"@directory/files\", file.dirlisting: ON}}}}\n";

const http_server http_servers[HTTP_SERVERS] = {
    {"nginx",
     "nginx",
     {"-p", "@directory", "-c", "config", "-e", "stderr"},
     {NULL},
     {NULL},
     nginx_config},
    {"lighttpd", "lighttpd", {"-D", "-f", "@directory/config"}, {NULL}, {NULL}, lighttpd_config},
    {"h2o", "h2o", {"-c", "@directory/config"}, {NULL}, {NULL}, h2o_config},
    {"microhttpd",
     "./ferry-bench-microhttpd",
     {"@directory/files", "@port", "@workers", NULL},
     {NULL},
     {NULL},
     NULL},
    {"ferry",
     "../ferry/ferry",
     {"serve", "@directory/files", "--threads", "@workers", "--list", "--listen",
      "unix:@directory/socket", "--listen", "127.0.0.1:@port"},
     {"--log", "@directory/access.log"},
     {"--tls-cert", "@directory/cert.pem", "--tls-key", "@directory/key.pem"},
     NULL},
};

/* ---- finding them ---------------------------------------------------------------------------- */

static bool find_beside(const char *name, char ret_path[PATH_MAX])
{
    char own[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", own, sizeof own - 1);
    if (length < 0)
        return false;
    own[length] = '\0';
    *strrchr(own, '/') = '\0';
    int size = snprintf(ret_path, PATH_MAX, "%s/%s", own, name);
    return size < PATH_MAX && access(ret_path, X_OK) == 0;
}

bool http_server_find(const char *name, char ret_path[PATH_MAX])
{
    if (strchr(name, '/') != NULL)
        return find_beside(name, ret_path);
    /* Where Debian has servers, and not everybody has it in PATH. */
    char path[PATH_MAX];
    const char *usual = getenv("PATH");
    (void)snprintf(path, sizeof path, "%s:/usr/sbin", usual != NULL ? usual : "/usr/bin");
    char *rest = path;
    for (const char *directory; (directory = strsep(&rest, ":")) != NULL;) {
        int size = snprintf(ret_path, PATH_MAX, "%s/%s", directory, name);
        if (size < PATH_MAX && directory[0] == '/' && access(ret_path, X_OK) == 0)
            return true;
    }
    return false;
}

/* ---- starting them --------------------------------------------------------------------------- */

static bool skip(const char **text, const char *word)
{
    size_t length = strlen(word);
    if (strncmp(*text, word, length) != 0)
        return false;
    *text += length;
    return true;
}

static void expand(const char *text, const site *where, FILE *out)
{
    while (*text != '\0') {
        if (skip(&text, "@directory"))
            (void)fputs(where->directory, out);
        else if (skip(&text, "@port"))
            (void)fprintf(out, "%u", where->port);
        else if (skip(&text, "@workers"))
            (void)fprintf(out, "%u", where->workers);
        else if (skip(&text, "@reuseport"))
            (void)fputs(where->is_short ? " reuseport" : "", out);
        else if (skip(&text, "@ssl"))
            (void)fputs(where->is_secure ? " ssl" : "", out);
        else if (skip(&text, "@secure "))
            (void)fputs(where->is_secure ? "" : "#", out);
        else if (skip(&text, "@plain "))
            (void)fputs(where->is_secure ? "#" : "", out);
        else if (skip(&text, "@small "))
            (void)fputs(where->is_large ? "#" : "", out);
        else if (skip(&text, "@large "))
            (void)fputs(where->is_large ? "" : "#", out);
        else if (skip(&text, "@root "))
            (void)fputs(geteuid() == 0 ? "" : "#", out);
        else if (skip(&text, "@logged "))
            (void)fputs(where->is_logged ? "" : "#", out);
        else if (skip(&text, "@unlogged "))
            (void)fputs(where->is_logged ? "#" : "", out);
        else
            (void)fputc(*text++, out);
    }
}

/* @return the text, to be freed, or NULL. */
static char *expand_argument(const char *text, const site *where)
{
    char *result = NULL;
    size_t size;
    FILE *out = open_memstream(&result, &size);
    if (out == NULL)
        return NULL;
    expand(text, where, out);
    return fclose(out) == 0 ? result : NULL;
}

int http_server_configure(const http_server *what, const site *where)
{
    char *path = what->config != NULL ? expand_argument("@directory/config", where) : NULL;
    if (path == NULL)
        return what->config != NULL ? -ENOMEM : 0;
    FILE *file = fopen(path, "we");
    int error = -errno;
    free(path);
    if (file == NULL)
        return error;
    expand(what->config, where, file);
    return fclose(file) == 0 ? 0 : -errno;
}

/* Appends arguments to a command. @return how many it has then. */
static size_t append(char *command[], size_t count, const char *const texts[], size_t most,
                     const site *where)
{
    for (size_t i = 0; i < most && texts[i] != NULL; i++)
        command[count++] = expand_argument(texts[i], where);
    return count;
}

_Noreturn void http_server_become(const http_server *what, const char *path, const site *where)
{
    char *command[1 + MOST_ARGUMENTS + MOST_LOGGED + MOST_SECURE + 1] = {strdup(path)};
    size_t count = append(command, 1, what->arguments, MOST_ARGUMENTS, where);
    if (where->is_logged)
        count = append(command, count, what->logged, MOST_LOGGED, where);
    if (where->is_secure)
        (void)append(command, count, what->secure, MOST_SECURE, where);
    (void)execv(path, command);
    perror(path);
    _exit(EXIT_FAILURE);
}
