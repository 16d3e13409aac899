/* SPDX-License-Identifier: MIT */
#include "transport/send/channel.h"

#include <string.h>

/* There is room again. */
static void deliver_more(ferry__mail *mail, bool receiver_gone)
{
    (void)receiver_gone; /* from has not ended: the relay has not settled */
    ferry__channel *channel =
        (ferry__channel *)(void *)((char *)mail - offsetof(ferry__channel, more_mail));
    (void)pthread_mutex_lock(&channel->mutex);
    channel->is_mail_posted = false;
    (void)pthread_mutex_unlock(&channel->mutex);
    ferry__stream_schedule_reading(channel->from);
}

void ferry__channel_open(ferry__channel *channel, ferry_stream *from, ferry_stream *to)
{
    *channel = (ferry__channel){.from = from, .to = to, .more_mail.deliver = deliver_more};
    (void)pthread_mutex_init(&channel->mutex, NULL);
}

static bool is_empty(const ferry__channel *channel)
{
    return ferry__bytes_count(&channel->bytes) == 0;
}

/* Lets go of the mutex, and wakes to, if it waits for what has changed. */
static void unlock_and_wake(ferry__channel *channel)
{
    bool was_dry = channel->is_dry;
    channel->is_dry = false;
    (void)pthread_mutex_unlock(&channel->mutex);
    if (was_dry)
        ferry_stream_wake_generator(channel->to);
}

bool ferry__channel_put(ferry__channel *channel, ferry__bytes *bytes)
{
    (void)pthread_mutex_lock(&channel->mutex);
    bool has_room = is_empty(channel);
    if (!has_room) {
        (void)pthread_mutex_unlock(&channel->mutex);
        return false;
    }
    channel->bytes = *bytes;
    unlock_and_wake(channel);
    *bytes = (ferry__bytes){0};
    return true;
}

void ferry__channel_end(ferry__channel *channel, int error)
{
    (void)pthread_mutex_lock(&channel->mutex);
    channel->has_ended = true;
    channel->error = error;
    unlock_and_wake(channel);
}

/* Whether from is to be told that there is room: then the mail is under way from now on. */
static bool has_news_for_from(ferry__channel *channel)
{
    bool is_news = is_empty(channel) && !channel->is_mail_posted;
    channel->is_mail_posted |= is_news;
    return is_news;
}

int64_t ferry__channel_take(void *buffer, size_t size, void *arg)
{
    ferry__channel *channel = arg;
    (void)pthread_mutex_lock(&channel->mutex);
    size_t there = ferry__bytes_count(&channel->bytes), count = there < size ? there : size;
    bool is_news = false;
    if (count > 0) {
        memcpy(buffer, ferry__bytes_first(&channel->bytes), count);
        ferry__bytes_take(&channel->bytes, count);
        is_news = has_news_for_from(channel);
    }
    channel->is_dry = count == 0 && !channel->has_ended;
    int64_t nothing = channel->has_ended ? channel->error : -EAGAIN;
    (void)pthread_mutex_unlock(&channel->mutex);
    if (is_news)
        ferry__owner_post(channel->from->owner, &channel->more_mail);
    return count > 0 ? (int64_t)count : nothing;
}

ferry__bytes ferry__channel_close(ferry__channel *channel)
{
    (void)pthread_mutex_destroy(&channel->mutex);
    return channel->bytes;
}
