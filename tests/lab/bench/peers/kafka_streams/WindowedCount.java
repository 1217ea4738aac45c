import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.OffsetDateTime;
import java.time.format.DateTimeParseException;
import java.util.Locale;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.processor.TimestampExtractor;

/**
 * Kafka Streams: JSON by Jackson, a tumbling count of 10 s a lesson by the event's time, as its developer guide does it.
 * The store is the default one, RocksDB with a changelog. One thread.
 */
public final class WindowedCount {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final long LOOK_EVERY = 1_000;

    private final long events;
    private final double limitSeconds;
    private long seen = 0;
    private long beganNanos = 0;
    private long cpuBeganNanos = 0;

    private WindowedCount(long events, double limitSeconds) {
        this.events = events;
        this.limitSeconds = limitSeconds;
    }

    public static void main(String[] arguments) throws IOException {
        String bootstrap = arguments[0];
        String topic = arguments[1];
        String group = arguments[2];
        WindowedCount stopwatch = new WindowedCount(Long.parseLong(arguments[3]), Double.parseDouble(arguments[4]));

        Path scratch = Path.of(System.getenv().getOrDefault("TMPDIR", System.getProperty("java.io.tmpdir")));

        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, group);
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, Files.createTempDirectory(scratch, "streams-").toString());
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");

        // The embedded broker finishes a group join only after the session has passed.
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.SESSION_TIMEOUT_MS_CONFIG), 6_000);
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.HEARTBEAT_INTERVAL_MS_CONFIG), 2_000);

        StreamsBuilder builder = new StreamsBuilder();
        builder.stream(topic, Consumed.with(Serdes.String(), json()).withTimestampExtractor(new EventTime()))
            .peek((lesson, event) -> stopwatch.count())
            .filter((lesson, event) -> lesson != null && event.isObject())
            .groupByKey(Grouped.with(Serdes.String(), json()))
            .windowedBy(TimeWindows.ofSizeAndGrace(Duration.ofSeconds(10), Duration.ofSeconds(60)))
            .count();
        KafkaStreams streams = new KafkaStreams(builder.build(), settings);
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            Runtime.getRuntime().halt(1);
            return null;
        });
        streams.start();
    }

    /** JSON; what is none becomes a missing node, so that it neither stops the stream nor goes uncounted. */
    private static Serde<JsonNode> json() {
        return Serdes.serdeFrom(
            (topic, event) -> {
                try {
                    return JSON.writeValueAsBytes(event);
                } catch (IOException error) {
                    throw new IllegalStateException(error);
                }
            },
            (topic, bytes) -> {
                try {
                    return bytes == null ? JSON.missingNode() : JSON.readTree(bytes);
                } catch (IOException error) {
                    return JSON.missingNode();
                }
            });
    }

    private static final class EventTime implements TimestampExtractor {
        @Override
        public long extract(ConsumerRecord<Object, Object> record, long partitionTime) {
            try {
                String time = record.value() instanceof JsonNode event ? event.path("time").asText() : "";
                return OffsetDateTime.parse(time).toInstant().toEpochMilli();
            } catch (DateTimeParseException error) {
                return Math.max(partitionTime, 0);
            }
        }
    }

    /** Counts one record; prints the answer and ends the process once there are enough or the time is over. */
    private void count() {
        long now = seen == 0 || seen % LOOK_EVERY == 0 || seen + 1 >= events ? System.nanoTime() : 0;
        if (seen++ == 0) {
            beganNanos = now;
            cpuBeganNanos = cpuNanos();
            return;
        }
        double seconds = (now - beganNanos) / 1e9;
        if (seen >= events || now != 0 && seconds >= limitSeconds) {
            double cpuSeconds = (cpuNanos() - cpuBeganNanos) / 1e9;
            System.out.printf(
                Locale.ROOT, "{\"events\": %d, \"seconds\": %.6f, \"cpu_seconds\": %.6f}%n", seen - 1, seconds, cpuSeconds);
            System.out.flush();
            Runtime.getRuntime().halt(0);
        }
    }

    private static long cpuNanos() {
        return ((com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean()).getProcessCpuTime();
    }
}
