/* SPDX-License-Identifier: MIT */
/* Addresses as text, and what they are taken for. */
#include "transport/edge/address.h"

#include "tests/harness.h"

static ferry__address parsed(const char *text)
{
    ferry__address address;
    check_eq(ferry__address_parse(text, &address), 0);
    return address;
}

static void check_host(const char *text, const char *host, const char *port)
{
    ferry__address address = parsed(text);
    check_eq(address.kind, FERRY__ADDRESS_HOST);
    check(strcmp(address.host, host) == 0);
    check(strcmp(address.port, port) == 0);
}

PROMISE(address, host_and_port_are_told_apart)
{
    check_host("example.org:80", "example.org", "80");
    check_host("127.0.0.1:0", "127.0.0.1", "0");
    check_host("localhost:http", "localhost", "http");
    check_host("localhost:iso-tsap", "localhost", "iso-tsap");
    check_host("[::1]:65535", "::1", "65535");
    check_host("[fe80::1%eth0]:1", "fe80::1%eth0", "1");
    check_host(":4711", "", "4711");
    check_host("*:4711", "", "4711");
}

PROMISE(address, unix_sockets_are_paths_or_abstract_names)
{
    ferry__address address = parsed("unix:/run/x");
    check_eq(address.kind, FERRY__ADDRESS_UNIX);
    check(strcmp(address.local.address.local.sun_path, "/run/x") == 0);
    check_eq(address.local.size, offsetof(struct sockaddr_un, sun_path) + strlen("/run/x") + 1);
    address = parsed("unix:@name");
    check(memcmp(address.local.address.local.sun_path, "\0name", 5) == 0);
    check_eq(address.local.size, offsetof(struct sockaddr_un, sun_path) + strlen("@name"));
    check(strcmp(parsed("unix:a:b").local.address.local.sun_path, "a:b") == 0);
}

PROMISE(address, inherited_sockets_have_numbers_or_names)
{
    check_eq(parsed("fd:7").kind, FERRY__ADDRESS_FD);
    check_eq(parsed("fd:7").number, 7);
    check_eq(parsed("systemd:2").kind, FERRY__ADDRESS_SYSTEMD);
    check_eq(parsed("systemd:2").number, 2);
    check(strcmp(parsed("systemd:web.socket").host, "web.socket") == 0);
}

PROMISE(address, malformed_ones_are_einval)
{
    static const char *const malformed[] = {
        "",         ":",          "localhost",   "localhost:", "localhost:65536", "localhost:-1",
        "::1",      "::1:80",     "[::1]",       "[::1]80",    "[::1]:",          "[::1:80",
        "[]:80",    "[host]:80",  "[1.2.3.4]:1", "a b:80",     "/path:80",        "host:8 0",
        "unix:",    "unix:@",     "fd:",         "fd:x",       "fd:-1",           "fd:99999999999",
        "systemd:", "systemd:a:", "**:80",       "*.com:80",   "host:80x!",       "[::1]x:80",
        "[::1]:x]", "host]:80",   "fd:1x",       "[::1%]]:80",
    };
    for (unsigned i = 0; i < sizeof malformed / sizeof malformed[0]; i++) {
        ferry__address untouched = {.number = 77};
        int error = ferry__address_parse(malformed[i], &untouched);
        if (error != -EINVAL)
            fprintf(stderr, "\"%s\"\n", malformed[i]);
        check_eq(error, -EINVAL);
        check_eq(untouched.number, 77);
    }
}

PROMISE(address, what_is_too_long_is_enametoolong)
{
    char text[1024];
    ferry__address address;
    snprintf(text, sizeof text, "unix:/%0106d", 0); /* with its NUL as long as sun_path */
    check_eq(ferry__address_parse(text, &address), 0);
    snprintf(text, sizeof text, "unix:/%0107d", 0);
    check_eq(ferry__address_parse(text, &address), -ENAMETOOLONG);
    snprintf(text, sizeof text, "%0256d:80", 0);
    check_eq(ferry__address_parse(text, &address), -ENAMETOOLONG);
    snprintf(text, sizeof text, "host:%032d", 0);
    check_eq(ferry__address_parse(text, &address), -ENAMETOOLONG);
    snprintf(text, sizeof text, "systemd:a%0256d", 0);
    check_eq(ferry__address_parse(text, &address), -ENAMETOOLONG);
}

PROMISE(address, numbers_need_no_lookup_and_names_do)
{
    ferry__endpoints found;
    ferry__address address = parsed("127.0.0.1:80");
    check_eq(ferry__address_resolve(&address, false, FERRY__NUMERIC_ONLY, &found), 0);
    check_eq(found.count, 1);
    check_eq(found.list[0].address.v4.sin_port, htons(80));
    address = parsed("[::1]:80");
    check_eq(ferry__address_resolve(&address, false, FERRY__NUMERIC_ONLY, &found), 0);
    address = parsed("localhost:80");
    check_eq(ferry__address_resolve(&address, false, FERRY__NUMERIC_ONLY, &found), -EAGAIN);
    address = parsed("127.0.0.1:http");
    check_eq(ferry__address_resolve(&address, false, FERRY__NUMERIC_ONLY, &found), -EAGAIN);
    address = parsed("127.0.0.1:nosuchservice");
    check_eq(ferry__address_resolve(&address, false, FERRY__EVERYWHERE, &found), -ENXIO);
    address = parsed("unix:/x");
    check_eq(ferry__address_resolve(&address, false, FERRY__NUMERIC_ONLY, &found), 0);
    check_eq(found.count, 1);
}

PROMISE(address, all_interfaces_are_ipv6_first)
{
    ferry__endpoints found;
    ferry__address address = parsed("*:80");
    check_eq(ferry__address_resolve(&address, true, FERRY__NUMERIC_ONLY, &found), 0);
    check_eq(found.count, 2);
    check_eq(found.list[0].address.any.sa_family, AF_INET6);
    check(IN6_IS_ADDR_UNSPECIFIED(&found.list[0].address.v6.sin6_addr));
    check_eq(found.list[1].address.v4.sin_addr.s_addr, htonl(INADDR_ANY));
}

/* ---- as text again --------------------------------------------------------------------------- */

static void check_text(const char *numeric, const char *expected)
{
    char text[200];
    ferry__address address = parsed(numeric);
    ferry__endpoints found;
    check_eq(ferry__address_resolve(&address, false, FERRY__NUMERIC_ONLY, &found), 0);
    check_eq(ferry__endpoint_format(&found.list[0], text, sizeof text), strlen(expected));
    check(strcmp(text, expected) == 0);
    check_eq(ferry__endpoint_format(&found.list[0], NULL, 0), strlen(expected));
    check_eq(ferry__endpoint_format(&found.list[0], text, 4), strlen(expected));
    check(strlen(text) == 3 && strncmp(text, expected, 3) == 0);
}

PROMISE(address, text_is_what_can_be_parsed_again)
{
    check_text("127.0.0.1:80", "127.0.0.1:80");
    check_text("[::1]:80", "[::1]:80");
    check_text("[0:0::1]:80", "[::1]:80");
    check_text("[::ffff:127.0.0.1]:80", "127.0.0.1:80");
    check_text("unix:/some/path", "unix:/some/path");
    check_text("unix:@name", "unix:@name");
}

static void check_peer(const char *address_text, const char *expected)
{
    char text[200];
    ferry__address address = parsed(address_text);
    ferry__endpoints found;
    ferry__peer peer = {0};
    check_eq(ferry__peer_format(&peer, text, sizeof text), -ENOTCONN);
    check_eq(ferry__address_resolve(&address, false, FERRY__NUMERIC_ONLY, &found), 0);
    ferry__peer_set(&peer, &found.list[0]);
    check_eq(ferry__peer_format(&peer, text, sizeof text), strlen(expected));
    check(strcmp(text, expected) == 0);
}

PROMISE(address, peers_are_kept_in_32_bytes_and_long_paths_are_not)
{
    check(sizeof(ferry__peer) <= 32);
    check_peer("127.0.0.1:80", "127.0.0.1:80");
    check_peer("[2001:db8::1]:80", "[2001:db8::1]:80");
    check_peer("unix:/a/path/of/25/characters/", "unix:/a/path/of/25/characters/");
    check_peer("unix:/a/path/of/26/characters//", "unix:");
    check_peer("unix:@name", "unix:@name");
}

/* ---- what a service manager passed ----------------------------------------------------------- */

static int find_passed(const char *text)
{
    ferry__address address = parsed(text);
    return ferry__address_find_passed(&address);
}

PROMISE(address, service_managers_fds_are_found_by_place_and_name)
{
    char pid[16];
    check_eq(find_passed("systemd:0"), -ENXIO);
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    setenv("LISTEN_PID", pid, 1);
    setenv("LISTEN_FDS", "3", 1);
    check_eq(find_passed("systemd:0"), 3);
    check_eq(find_passed("systemd:2"), 5);
    check_eq(find_passed("systemd:3"), -ENXIO);
    check_eq(find_passed("systemd:web"), -ENXIO);
    setenv("LISTEN_FDNAMES", "webs:web::extra", 1);
    check_eq(find_passed("systemd:webs"), 3);
    check_eq(find_passed("systemd:web"), 4);
    check_eq(find_passed("systemd:we"), -ENXIO);
    check_eq(find_passed("systemd:extra"), -ENXIO); /* beyond LISTEN_FDS */
    setenv("LISTEN_PID", "1", 1);
    check_eq(find_passed("systemd:0"), -ENXIO); /* meant for another process */
    setenv("LISTEN_PID", "", 1);
    check_eq(find_passed("systemd:0"), -ENXIO);
}
