// SPDX-License-Identifier: MIT
// C++17: threads send a file each, headed by its name, over one connection, while the main thread
// runs a loop of its own. Handles are unique_ptrs, what is refused is thrown, callbacks are
// lambdas.
//
//     nc -l -U /tmp/files.socket >all &
//     raii unix:/tmp/files.socket raii.cpp glib.c epoll.c
#include <ferry/ferry.h>
#include <future>
#include <iostream>
#include <memory>
#include <poll.h>
#include <string>
#include <system_error>
#include <vector>

static void end(ferry_service *service) // sends what is queued, and runs callbacks meanwhile
{
    (void)ferry_service_stop(service, 5000);
    ferry_service_destroy(service);
}

template <auto *release> using Release = std::integral_constant<decltype(release), release>;
using Service = std::unique_ptr<ferry_service, Release<end>>;
using Stream = std::unique_ptr<ferry_stream, Release<ferry_stream_unref>>;
using Promise = std::unique_ptr<ferry_promise, Release<ferry_promise_unref>>;

static void check(int status)
{
    if (status < 0)
        throw std::system_error(-status, std::generic_category());
}

// Calls a function that gives a handle in its last argument.
template <class Handle, class... Parameters, class... Arguments>
static Handle make(int (*function)(Parameters...), Arguments... arguments)
{
    typename Handle::pointer handle;
    check(function(arguments..., &handle));
    return Handle(handle);
}

// Has a function object called with the outcome by this thread's loop; what it throws is not for C.
template <class Function> static void then(const Promise &promise, Function function)
{
    const auto call = [](ferry_promise *, const ferry_result *result, void *arg) noexcept {
        (*static_cast<Function *>(arg))(*result);
    };
    const auto end = [](void *, void *arg) { delete static_cast<Function *>(arg); };
    auto kept = std::make_unique<Function>(std::move(function));
    check(ferry_promise_observe(promise.get(), call, kept.get(), end));
    (void)kept.release();
}

// On any thread. The two parts stay together, whatever the others send.
static Promise send(const Stream &stream, const std::string &name)
{
    const std::string head = "==> " + name + " <==\n";
    const ferry_part parts[] = {ferry_part_copy(head.data(), head.size()),
                                ferry_part_file(ferry_file_at(name.c_str()))};
    return make<Promise>(ferry_stream_send, stream.get(), parts, std::size(parts), nullptr);
}

int main(int argc, char **argv)
try {
    int failures = 0; // what callbacks use lives longer than the service
    bool is_closed = false;
    const Service service = make<Service>(ferry_service_create, nullptr);
    const Promise connected = make<Promise>(ferry_connect, service.get(), argv[1], nullptr);
    ferry_result result;
    check(ferry_promise_await(connected.get(), -1, &result)), check(result.error);
    const Stream stream = make<Stream>(ferry_promise_get_stream, connected.get());
    std::vector<std::future<Promise>> sent; // each waits for its thread when it goes
    for (int i = 2; i < argc; i++)
        sent.push_back(
            std::async(std::launch::async, [&, name = argv[i]] { return send(stream, name); }));
    for (size_t i = 0; i < sent.size(); i++)
        then(sent[i].get(), [&failures, name = argv[i + 2]](const ferry_result &outcome) {
            failures += outcome.error != 0;
            std::cout << name << ": " << ferry_error_name(outcome.error) << std::endl;
        });
    const Promise closed = make<Promise>(ferry_stream_close, stream.get());
    pollfd inbox = {ferry_inbox_get_fd(), POLLIN, 0};
    then(closed, [&](const ferry_result &) { is_closed = true; });
    while (!is_closed)
        if (poll(&inbox, 1, 200) == 0)
            std::cout << "waiting" << std::endl;
        else
            check(ferry_inbox_run(0));
    return failures;
} catch (const std::exception &error) {
    std::cerr << "raii: " << error.what() << '\n';
    return 1;
}
